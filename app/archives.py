"""Members of zip and tar archives, named as fsspec does: ``zip://a/b.jpg::/data/x.zip``, ``tar://...::s3://...``."""

from __future__ import annotations

import tarfile
import threading
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field

import fsspec
from fsspec.core import split_protocol
from fsspec.spec import AbstractFileSystem

from app.errors import BadInputError

OPEN_ARCHIVES = 8
"""Archives kept open with their lists of members (about 1 kB per member) by a process."""
PROTOCOLS = ("zip", "tar")

_ERRORS = (OSError, ValueError, ImportError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error)
"""What fsspec, ``zipfile`` and ``tarfile`` raise on archives that are missing, damaged or encrypted."""


@dataclass(frozen=True)
class _Open:
    files: AbstractFileSystem
    lock: threading.Lock = field(default_factory=threading.Lock)


def is_member(location: str) -> bool:
    """Whether a location names a member of an archive."""
    return "::" in location and split_protocol(location)[0] in PROTOCOLS


class Archives:
    """Keeps the archives that were used last open. Thread-safe; a forked process needs its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, str], _Open] = OrderedDict()

    def read_bytes(self, location: str, *, max_bytes: int) -> bytes:
        """The content of a member, up to one byte past ``max_bytes``. Raises BadInputError if it cannot be read."""
        member, archive = location.split("::", 1)
        protocol, path = split_protocol(member)
        try:
            opened = self._opened(protocol, archive)
            with opened.lock, opened.files.open(path, "rb") as file:
                return file.read(max_bytes + 1)
        except _ERRORS as error:
            reason = "not in the archive" if isinstance(error, FileNotFoundError) and str(error) == path else str(error)
            raise BadInputError(
                f"{location}: the picture cannot be read ({reason}); correct its path, or the archive."
            ) from error

    def _opened(self, protocol: str, archive: str) -> _Open:
        key = protocol, archive
        with self._lock:
            if key not in self._open:
                self._open[key] = _Open(fsspec.filesystem(protocol, fo=archive))
            self._open.move_to_end(key)
            if len(self._open) > OPEN_ARCHIVES:
                self._open.popitem(last=False)
            return self._open[key]
