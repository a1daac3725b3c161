"""Pictures of training data by location: a path, an http(s) URL, an fsspec URL (s3://, gs://) or an archive's member.

The locations are the operator's own, never a user's. Boxes are in pixels of the original picture, upright; a picture
that was read may be smaller, and :func:`shown_box` says where a box is in it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import partial
from pathlib import Path

from PIL.Image import Image

from app.errors import BadInputError
from app.images import decode_image
from app.picture_files import PictureFiles
from app.schema import Box
from app.settings import Settings

MAX_SIDE = 1024
"""Longer sides are reduced to this many pixels, as in the index, so that what waits for the model stays small."""
CACHE_BYTES = 20_000_000_000
REMEMBERED_FAILURES = 100_000
ORIGINAL_SIZE = "original_size"


class PictureStore:
    """Reads pictures within the limits of ``settings``; remote ones are kept below ``cache``, up to ``cache_bytes``.

    Safe for threads, and for processes that are forked or get a pickled copy. A location that cannot be read is not
    tried again by the same process: neither at once if it is the picture's fault, nor after three more tries if the
    server's (our decision).
    """

    def __init__(self, cache: Path, settings: Settings, cache_bytes: int = CACHE_BYTES) -> None:
        self._cache, self._settings, self._cache_bytes = cache, settings, cache_bytes
        self._files = PictureFiles(cache / "pictures", settings.max_image_bytes, cache_bytes)
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
            image = self._files.read(location, partial(self._decode, location))
        except BadInputError as error:
            self._failures[location] = str(error)
            if len(self._failures) > REMEMBERED_FAILURES:
                self._failures.popitem(last=False)
            raise
        size = image.size
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        image.info[ORIGINAL_SIZE] = size
        return image

    def digest(self, location: str) -> str:
        """A hash of the picture's file. Raises BadInputError naming the location."""
        return self._files.read(location, lambda data: hashlib.blake2b(data, digest_size=16).hexdigest())

    def _decode(self, location: str, data: bytes) -> Image:
        limits = self._settings
        return decode_image(data, name=location, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels)


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
