"""The encoding of a text file, told by its bytes."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

UTF_8, WINDOWS = "utf-8-sig", "cp1252"
NAMES = {UTF_8: "UTF-8", WINDOWS: "Windows-1252", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
"""What the encodings are called in messages."""

CHUNK = 1_000_000
_ESCAPED = re.compile("[\udc80-\udcff]")
_OTHER = re.compile("[^\x00-\x7f\udc80-\udcff]")


def text_encoding(file: Path) -> str:
    """UTF-8 or UTF-16, with or without a mark at the start, else Windows-1252; the name of a codec.

    The first megabyte that is not plain ASCII decides: a stray byte among valid UTF-8 is damage (the row is lost), but
    where no accented letter is valid UTF-8, the file is in the usual encoding of spreadsheets in Western Europe
    (our decision).
    """
    with file.open("rb") as stream:
        chunk = stream.read(CHUNK)
        if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if b"\0" in chunk[:2:2] + chunk[3:40:2] and not chunk[:40:2].count(0):
            return "utf-16-le"
        if chunk[:40:2].count(0) and not chunk[1:40:2].count(0):
            return "utf-16-be"
        while chunk:
            if not chunk.isascii():
                return _of_chunk(chunk)
            chunk = stream.read(CHUNK)
    return UTF_8


def has_stray_bytes(text: str) -> bool:
    """Whether a text that was read with ``surrogateescape`` has bytes that its encoding does not know."""
    return not text.isascii() and _ESCAPED.search(text) is not None


def _of_chunk(chunk: bytes) -> str:
    text = chunk.decode("utf-8", "surrogateescape")
    stray = sum(1 for _ in _ESCAPED.finditer(text))
    valid = sum(1 for _ in _OTHER.finditer(text))
    return UTF_8 if valid >= stray else WINDOWS
