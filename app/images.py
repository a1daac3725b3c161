"""Pictures from untrusted bytes: limits first, then decoding, then one form for everything downstream (upright RGB)."""

from __future__ import annotations

import io
import logging
import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import numpy as np
from PIL import Image, ImageOps

from app.errors import BadInputError

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MIN_SIDE = 2
MAX_ASPECT = 100
FETCH_SECONDS = 30.0
"""How long a server may stay silent."""
WHOLE_FETCH_SECONDS = 120.0
"""How long a picture may take altogether, however steadily it drips."""
WHITE = (255, 255, 255, 255)

_DECODE_ERRORS = (
    OSError,  # includes truncated and unidentified images
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow's plugins raise on broken files (see the loaders in ``PIL``)."""


def decode_image(data: bytes, *, name: str, max_bytes: int, max_pixels: int) -> Image.Image:
    """The first frame of a picture as RGB, turned upright by its EXIF tag, transparent parts on white.

    The file size and the dimensions in the header are checked before any pixel is decoded. ``name`` stands for the
    picture in error messages. Thread-safe; touches none of Pillow's global settings.

    Raises BadInputError for anything that is not a complete picture of an accepted format within the limits.
    """
    with _opened(data, name, max_bytes, max_pixels) as image:
        image.load()
        return _to_rgb(_upright(image, name))


def pixels_of(data: bytes, *, name: str, max_bytes: int, max_pixels: int) -> int:
    """The pixels of a picture, from its header. Raises BadInputError as :func:`decode_image` does before decoding."""
    with _opened(data, name, max_bytes, max_pixels) as image:
        return image.width * image.height


@contextmanager
def _opened(data: bytes, name: str, max_bytes: int, max_pixels: int) -> Iterator[Image.Image]:
    """A picture within the limits, of which only the header is read; errors of the block are the picture's."""
    if len(data) > max_bytes:
        raise BadInputError(
            "{name}: the file is larger than the limit of {limit} MB; provide a smaller version of it.",
            name=name,
            limit=f"{max_bytes / 1e6:g}",
        )
    if not data:
        raise BadInputError(
            "{name}: the file is empty; provide a picture ({formats}).", name=name, formats=", ".join(FORMATS)
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_dimensions(image.size, name, max_pixels)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(name, max_pixels) from error
    except Image.UnidentifiedImageError as error:
        raise BadInputError(
            "{name}: not a picture that can be read; provide one of these: {formats}.",
            name=name,
            formats=", ".join(FORMATS),
        ) from error
    except _DECODE_ERRORS as error:
        raise BadInputError(
            "{name}: the picture is damaged or incomplete ({error}); save or upload it again.", name=name, error=error
        ) from error


def read_bytes(location: str, *, max_bytes: int) -> bytes:
    """The content of a catalog picture: a path, an http(s) URL, or any other URL that fsspec knows (s3://, gs://).

    Stops one byte past ``max_bytes``, so that :func:`decode_image` refuses the picture and the memory stays bounded.
    For locations from the operator's catalog only: users' photos arrive as bytes and are never fetched.

    Raises BadInputError if nothing can be read there.
    """
    try:
        if location.startswith(("http://", "https://")):
            return _fetch(location, max_bytes)
        if "://" in location:
            with fsspec.open(location, "rb") as file:
                return file.read(max_bytes + 1)
        with Path(location).open("rb") as file:
            return file.read(max_bytes + 1)
    except (OSError, ValueError, ImportError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInputError(f"{location}: the picture cannot be read ({reason}); correct its path or URL.") from error


def read_image(location: str, *, max_bytes: int, max_pixels: int) -> tuple[bytes, Image.Image]:
    """A catalog picture's bytes and its decoded form, from one and the same read. Raises BadInputError as its parts."""
    data = read_bytes(location, max_bytes=max_bytes)
    return data, decode_image(data, name=location, max_bytes=max_bytes, max_pixels=max_pixels)


def _check_dimensions(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_many_pixels(name, max_pixels, f" ({width} x {height})")
    if min(size) < MIN_SIDE:
        raise BadInputError(
            "{name}: the picture is only {width} x {height} pixels; at least {least} x {least} are needed.",
            name=name,
            width=width,
            height=height,
            least=MIN_SIDE,
        )
    if max(size) > MAX_ASPECT * min(size):
        raise BadInputError(
            "{name}: the picture is a strip of {width} x {height} pixels; crop it to the product "
            "(at most {most} times as long as wide).",
            name=name,
            width=width,
            height=height,
            most=MAX_ASPECT,
        )


def _too_many_pixels(name: str, max_pixels: int, size: str = "") -> BadInputError:
    return BadInputError(
        "{name}: the picture has more pixels than the limit of {limit} megapixels{size}; scale it down.",
        name=name,
        limit=f"{max_pixels / 1e6:g}",
        size=size,
    )


def _upright(image: Image.Image, name: str) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODE_ERRORS as error:
        log.info("%s: unreadable EXIF data, shown as stored (%s)", name, error)
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        image = Image.fromarray(_stretch(np.asarray(image, dtype=np.float64)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    rgb = image.convert("RGB")
    rgb.info.clear()
    return rgb


def _stretch(values: np.ndarray) -> np.ndarray:
    """Brightness of unknown range, shape (height, width), to 0 ... 255."""
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    return ((values - low) * (255.0 / (high - low if high > low else 1.0))).astype(np.uint8)


def _fetch(url: str, max_bytes: int) -> bytes:
    import httpx

    deadline = time.monotonic() + WHOLE_FETCH_SECONDS
    try:
        with _client(os.getpid()).stream("GET", url) as response:
            response.raise_for_status()
            data = bytearray()
            for chunk in response.iter_bytes():
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"not complete after {WHOLE_FETCH_SECONDS:g} seconds")
                data += chunk
                if len(data) > max_bytes:
                    break
            return bytes(data[: max_bytes + 1])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(str(error) or type(error).__name__) from error


@cache
def _client(process: int) -> httpx.Client:
    """A forked process must not share the open connections of its parent."""
    import httpx

    return httpx.Client(timeout=FETCH_SECONDS, follow_redirects=True, transport=httpx.HTTPTransport(retries=2))
