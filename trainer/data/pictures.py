"""Pictures of training data by location: a path, an http(s) URL, an fsspec URL (s3://, gs://) or an archive's member.

The locations are the operator's own, never a user's. Boxes are in pixels of the original picture, upright; a picture
that was read may be smaller, and :func:`shown_box` says where a box is in it.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from pathlib import Path

import httpx
from fsspec.core import split_protocol
from PIL.Image import Image

from app.errors import BadInputError
from app.images import decode_image, read_bytes
from app.schema import Box
from app.settings import Settings
from trainer.data.archives import Archives, is_member
from trainer.data.disk_cache import DiskCache

logger = logging.getLogger(__name__)

MAX_SIDE = 1024
"""Longer sides are reduced to this many pixels, as in the index, so that what waits for the model stays small."""
CACHE_BYTES = 20_000_000_000
WAITS = (1.0, 4.0, 16.0)
"""Seconds before each further try of a location that may work later."""
REMEMBERED_FAILURES = 100_000
ORIGINAL_SIZE = "original_size"

_LOCAL = (None, "file", "local")
_BUSY = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
_TRANSIENT = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, TimeoutError, ConnectionError)


class PictureStore:
    """Reads pictures within the limits of ``settings``; remote ones are kept below ``cache``, up to ``cache_bytes``.

    Safe for threads, and for processes that are forked or get a pickled copy. A location that cannot be read is not
    tried again by the same process: neither at once if it is the picture's fault, nor after three more tries if the
    server's (our decision).
    """

    def __init__(self, cache: Path, settings: Settings, cache_bytes: int = CACHE_BYTES) -> None:
        self._cache, self._settings, self._cache_bytes = cache, settings, cache_bytes
        self._disk = DiskCache(cache / "pictures", cache_bytes)
        self._archives: dict[int, Archives] = {}
        self._failures: OrderedDict[str, str] = OrderedDict()

    def __reduce__(self) -> tuple[type[PictureStore], tuple[Path, Settings, int]]:
        return type(self), (self._cache, self._settings, self._cache_bytes)

    def read(self, location: str) -> Image:
        """The picture as upright RGB, at most ``MAX_SIDE`` pixels long, with its original size for shown_box.

        Raises BadInputError naming the location.
        """
        if location in self._failures:
            raise BadInputError(self._failures[location])
        try:
            image = self._local(location) if is_local(location) else self._remote(location)
        except BadInputError as error:
            self._failures[location] = str(error)
            if len(self._failures) > REMEMBERED_FAILURES:
                self._failures.popitem(last=False)
            raise
        size = image.size
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        image.info[ORIGINAL_SIZE] = size
        return image

    def _local(self, location: str) -> Image:
        return self._decode(location, self._bytes(location))

    def _remote(self, location: str) -> Image:
        if (kept := self._disk.get(location)) is not None:
            try:
                return self._decode(location, kept)
            except BadInputError as error:
                logger.warning("%s: damaged in the cache, fetched again (%s)", location, error)
                self._disk.drop(location)
        data = self._fetch(location)
        image = self._decode(location, data)
        self._disk.put(location, data)
        return image

    def _fetch(self, location: str) -> bytes:
        for wait in WAITS:
            try:
                return self._bytes(location)
            except BadInputError as error:
                if not may_work_later(error):
                    raise
                logger.info("%s Next try in %g s.", error, wait)
                time.sleep(wait)
        return self._bytes(location)

    def _bytes(self, location: str) -> bytes:
        limit = self._settings.max_image_bytes
        if not is_member(location):
            return read_bytes(location, max_bytes=limit)
        # A parent's archives stay referenced after a fork: closing them would move the offsets of its open files.
        return self._archives.setdefault(os.getpid(), Archives()).read_bytes(location, max_bytes=limit)

    def _decode(self, location: str, data: bytes) -> Image:
        limits = self._settings
        return decode_image(data, name=location, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels)


def is_local(location: str) -> bool:
    """Whether a picture, or the archive that holds it, lies on a file system of this machine.

    >>> is_local("/data/a.jpg"), is_local("zip://a.jpg::/data/b.zip"), is_local("tar://a.jpg::s3://bucket/b.tar")
    (True, True, False)
    """
    return split_protocol(location.rsplit("::", 1)[-1])[0] in _LOCAL


def may_work_later(error: BaseException | None) -> bool:
    """Whether a failure to read is the network's or a busy server's (408, 429, 5xx), by the chain of its causes."""
    while error is not None:
        if isinstance(error, httpx.HTTPStatusError):
            return error.response.status_code in _BUSY or error.response.is_server_error
        if isinstance(error, _TRANSIENT):
            return True
        error = error.__cause__
    return False


def shown_box(box: Box, image: Image) -> Box:
    """A box in pixels of the original picture, in pixels of the picture as :class:`PictureStore` read it."""
    width, height = image.info.get(ORIGINAL_SIZE, image.size)
    x, y = image.width / width, image.height / height
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def original_box(box: Box, image: Image) -> Box:
    """The inverse of :func:`shown_box`."""
    width, height = image.info.get(ORIGINAL_SIZE, image.size)
    x, y = width / image.width, height / image.height
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y
