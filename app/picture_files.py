"""The files of catalog pictures, wherever they lie; those of other machines with patience, and kept on disk.

The locations are the operator's own, never a user's: paths, http(s) URLs, other URLs that fsspec knows (s3://, gs://),
and members of archives (``zip://a.jpg::/data/b.zip``).
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx
from fsspec.core import split_protocol

from app.archives import Archives, is_member
from app.disk_cache import DiskCache
from app.errors import BadInputError
from app.images import read_bytes
from app.settings import Settings

log = logging.getLogger(__name__)

WAITS = (1.0, 4.0, 16.0)
"""Seconds before each further try of a location that may work later."""
GIVEN_UP = 5
"""After so many locations in a row that failed through all tries, a server is asked once for each further one."""

_LOCAL = (None, "file", "local")
_BUSY = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
_TRANSIENT = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, TimeoutError, ConnectionError)

T = TypeVar("T")


class Stamp(NamedTuple):
    """What a file system says of a file: it changes whenever the content does, unless somebody turns back the clock.

    ``size`` in bytes; ``changed`` and ``touched`` are the times of its content and of its entry, in nanoseconds.
    """

    size: int
    changed: int
    touched: int


class PictureFiles:
    """Reads files of at most ``max_bytes``; remote ones are kept below ``folder`` up to ``cache_bytes``, for a time.

    A kept file older than ``keep_seconds`` is fetched again, since another picture may be there by now; None keeps it
    for good. Safe for threads; a forked process opens archives of its own.
    """

    def __init__(self, folder: Path, max_bytes: int, cache_bytes: int, keep_seconds: float | None = None) -> None:
        self._max_bytes, self._keep_seconds = max_bytes, keep_seconds
        self._disk = DiskCache(folder, cache_bytes)
        self._archives: dict[int, Archives] = {}
        self._failed_in_a_row: Counter[str] = Counter()

    def read(self, location: str, accept: Callable[[bytes], T]) -> T:
        """What ``accept`` makes of a file's content, one byte past the limit at most; only what it takes is kept.

        Raises BadInputError naming the location if it cannot be read, or what ``accept`` raises.
        """
        if is_local(location):
            return accept(self._bytes(location))
        if (kept := self._disk.get(location, self._keep_seconds)) is not None:
            try:
                return accept(kept)
            except BadInputError as error:
                log.warning("%s: damaged in the cache, fetched again (%s)", location, error)
                self._disk.drop(location)
        data = self._fetch(location)
        accepted = accept(data)
        if len(data) <= self._max_bytes:
            self._disk.put(location, data)
        return accepted

    def here(self, location: str) -> bytes | None:
        """A file's content if this machine has it: on its disk, or kept from another one, however long ago.

        None for any other; nothing is ever fetched. One byte past the limit at most is read of a file on the disk.
        """
        if not _on_disk(location):
            return self._disk.get(location)
        try:
            return self._bytes(location)
        except BadInputError:
            return None

    def stamp(self, location: str) -> Stamp | None:
        """Of the file that holds a picture, or the kept copy of a remote one; None if it must be read to know it."""
        if not is_local(location):
            return _stamp(self._disk.path(location), self._keep_seconds)
        return None if is_member(location) or "://" in location else _stamp(Path(location), None)

    def forget(self, location: str) -> None:
        """Fetch a remote file anew the next time."""
        self._disk.drop(location)

    def _fetch(self, location: str) -> bytes:
        server = urlsplit(location).netloc
        for wait in WAITS if self._failed_in_a_row[server] < GIVEN_UP else ():
            try:
                return self._bytes(location)
            except BadInputError as error:
                if not may_work_later(error):
                    raise
                log.info("%s Next try in %g s.", error, wait)
                time.sleep(wait)
        self._failed_in_a_row[server] += 1
        data = self._bytes(location)
        self._failed_in_a_row[server] = 0
        return data

    def _bytes(self, location: str) -> bytes:
        if not is_member(location):
            return read_bytes(location, max_bytes=self._max_bytes)
        # A parent's archives stay referenced after a fork: closing them would move the offsets of its open files.
        return self._archives.setdefault(os.getpid(), Archives()).read_bytes(location, max_bytes=self._max_bytes)


def catalog_pictures(settings: Settings, keep_seconds: float | None = None) -> PictureFiles:
    """Those of the catalog: the indexer keeps what it fetches in the data folder, where the server finds it."""
    folder = settings.data / "pictures"
    return PictureFiles(folder, settings.max_image_bytes, settings.picture_cache_bytes, keep_seconds)


def _stamp(file: Path, max_age: float | None) -> Stamp | None:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    is_fresh = max_age is None or time.time() - found.st_mtime <= max_age
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns) if is_fresh else None


def is_local(location: str) -> bool:
    """Whether a picture, or the archive that holds it, lies on a file system of this machine.

    >>> is_local("/data/a.jpg"), is_local("zip://a.jpg::/data/b.zip"), is_local("tar://a.jpg::s3://bucket/b.tar")
    (True, True, False)
    """
    return split_protocol(location.rsplit("::", 1)[-1].lower())[0] in _LOCAL


def _on_disk(location: str) -> bool:
    """Whether a location is local in all its parts: a path, or a member of a local archive."""
    outer, _, inner = location.partition("::")
    if inner:
        return is_member(location) and "::" not in inner and is_local(inner)
    return is_local(outer)


def may_work_later(error: BaseException | None) -> bool:
    """Whether a failure to read is the network's or a busy server's (408, 429, 5xx), by the chain of its causes."""
    while error is not None:
        if isinstance(error, httpx.HTTPStatusError):
            return error.response.status_code in _BUSY or error.response.is_server_error
        if isinstance(error, _TRANSIENT):
            return True
        error = error.__cause__
    return False
