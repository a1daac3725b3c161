"""Cells of a catalog in the many shapes that shops export, as the values of a Product.

Every function takes what a cell may hold (None, text, number, list, struct) and raises ValueError with a reason for
what it cannot understand.
"""

from __future__ import annotations

import ast
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from app.picture_files import is_local

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")

_AMOUNT = re.compile(
    r"(?:[^\d.,+-]|(?<=[^\W\d])\.)*([+-]?(?:\d[\d.,'’\s]*\d|\d|[.,]\d+))(?:[.,][-–]*)?(?:[^\d.,+-]|(?<=[^\W\d])\.)*"
)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}(?:\1\d{3})*")
_INDIAN = re.compile(r"[+-]?[1-9]\d?(?:,\d{2})+,\d{3}")
_CURRENCY = re.compile(r"[$£¥€₹₽₩₺₴₪฿]|\b[A-Z]{3}\b|\b(?:kr|zł|Kč|Ft|Rs|R)\b")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_LEVELS = (
    re.compile(r"\s*[-=]*>+\s*|\s*[»›→]\s*"),
    *(re.compile(re.escape(mark)) for mark in ("::", "|", "\\", ";", "/")),
)
"""What may stand between the levels of a category path; the first of them that a text contains counts."""


class Folder(Protocol):
    """Where relative paths start: a path, or a place behind a URL."""

    def __truediv__(self, name: str, /) -> Any:
        """The location of ``name`` in it."""


class Several(list[Any]):
    """The cells of several columns that belong to one field, in order."""


def text(cell: Any) -> str:
    """One line of text; numbers without a trailing ``.0``, because an id column of a spreadsheet often has one.

    >>> text(12.0), text(None), text("  oak  ")
    ('12', '', 'oak')
    """
    if cell is None:
        return ""
    if isinstance(cell, str) and cell.isascii():
        return " ".join(cell.split())
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return ""
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else str(cell)
    if isinstance(cell, list | dict):
        raise ValueError(f"a {'list' if isinstance(cell, list) else 'struct'} where text is expected")
    return " ".join(str(cell).encode("utf-8", "replace").decode().split())


def category(cell: Any) -> list[str]:
    """A category path from the root: names in a list, a JSON list or several columns, or one text with a mark between.

    The marks are ``>`` (also ``->``, ``»``, ``›``, ``→``), ``::``, ``|``, ``\\``, ``;`` and ``/``.

    >>> category("Furniture > Sofas/Beds"), category("Furniture/Sofas")
    (['Furniture', 'Sofas/Beds'], ['Furniture', 'Sofas'])
    """
    cell = _from_json(cell)
    if isinstance(cell, list):
        parts = [part for name in cell for part in _LEVELS[0].split(text(name))]
    else:
        path = text(cell)
        parts = next((mark for mark in _LEVELS if mark.search(path)), _LEVELS[0]).split(path)
    return [part.strip() for part in parts if part.strip()]


def keywords(cell: Any) -> list[str]:
    """Distinct attribute values: one scalar, a list, or a JSON list.

    >>> keywords(["red", None, "red", 3.0]), keywords('["oak", "ash"]')
    (['red', '3'], ['oak', 'ash'])
    """
    cell = _from_json(cell)
    values = [text(value) for value in (cell if isinstance(cell, list) else [cell])]
    return list(dict.fromkeys(value for value in values if value))


def separated_keywords(cell: Any) -> list[str]:
    """Like :func:`keywords`, and one text may hold several values with ``|`` or ``;`` between them.

    >>> separated_keywords("red | blue"), separated_keywords("red; dark blue")
    (['red', 'blue'], ['red', 'dark blue'])
    """
    if isinstance(cell, Several):
        return keywords([value for part in cell for value in separated_keywords(part)])
    if isinstance(cell, str) and ("|" in cell or ";" in cell) and not cell.lstrip().startswith("["):
        return keywords(cell.split("|" if "|" in cell else ";"))
    return keywords(cell)


def mapping(cell: Any) -> Mapping[str, Any]:
    """A struct or a JSON object; None and empty text are an empty one."""
    cell = _from_json(cell)
    if cell is None or cell == "":
        return {}
    if not isinstance(cell, dict):
        raise ValueError(f"{_short(cell)} is neither a struct nor a JSON object")
    return cell


def number(cell: Any) -> float | None:
    """A finite number; text may have a currency sign, a unit, and thousands and decimals in either spelling.

    >>> number("€ 1.299,00"), number("$1,299"), number("49,90 EUR"), number("59.4"), number("")
    (1299.0, 1299.0, 49.9, 59.4, None)
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, bool | list | dict):
        raise ValueError(f"{_short(cell)} is not a number")
    try:
        value = float(cell)
    except OverflowError:
        value = math.inf
    except ValueError:
        value = _amount(str(cell))
    if not math.isfinite(value):
        raise ValueError(f"{_short(cell)} is not a finite number")
    return value


def pictures(cell: Any, folder: Path | Folder) -> list[str]:
    """Distinct picture locations: a list, a JSON list, or text with ``|``, ``;``, ``,`` or line ends between them.

    URLs stay as they are, paths are taken from ``folder``. A comma separates only pictures: URLs may contain some.
    Raises ValueError where a catalog from elsewhere names a file of this machine.
    """
    if isinstance(cell, Several):
        return list(dict.fromkeys(location for part in cell for location in pictures(part, folder)))
    cell = _from_json(cell)
    if isinstance(cell, list):
        found = [text(item) for item in cell]
    else:
        found = list(_split_pictures("" if cell is None else str(cell)))
    return list(
        dict.fromkeys(_named(name, folder) if _URL.match(name) else _beside(folder, name) for name in found if name)
    )


def link(cell: Any) -> str | None:
    """A web address that is safe to show as a link, None if the cell is empty."""
    address = text(cell)
    if address and not address.lower().startswith(("http://", "https://", "/")):
        raise ValueError(f"{_short(address)} is not an http(s) address")
    return address or None


def optional(cell: Any) -> str | None:
    """Text, None if there is none."""
    return text(cell) or None


def _from_json(cell: Any) -> Any:
    if isinstance(cell, str) and cell.lstrip().startswith(("[", "{")):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            if cell.lstrip().startswith("{"):
                raise ValueError(f"{_short(cell)} is not valid JSON") from None
            return _python_list(cell)
    return cell


def _python_list(cell: str) -> Any:
    """``['red', 'blue']``, as tables of Python write lists; anything else stays as it is."""
    try:
        return ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return cell


def _amount(words: str) -> float:
    match = _AMOUNT.fullmatch(unicodedata.normalize("NFKC", words))
    if match is None:
        raise ValueError(f"{_short(words)} is not a number")
    digits = re.sub(r"['’\s]", "", match[1])
    if _INDIAN.fullmatch(digits):
        return float(digits.replace(",", ""))
    grouped = _GROUPED.fullmatch(digits)
    if grouped and (digits.count(grouped[1]) > 1 or grouped[1] == "," or _CURRENCY.search(words)):
        return float(re.sub("[.,]", "", digits))
    point = next((character for character in reversed(digits) if character in ".,"), None)
    if point is None:
        return float(digits)
    whole, _, decimals = digits.rpartition(point)
    if point in whole:
        raise ValueError(f"{_short(words)} is not a number")
    return float(f"{re.sub('[.,]', '', whole)}.{decimals}")


def _named(url: str, folder: Path | Folder) -> str:
    if is_local(url) and not is_local(str(folder / "picture")):
        raise ValueError(f"{_short(url)} is a file of this machine, which a catalog from elsewhere cannot name")
    return url


def _beside(folder: Path | Folder, name: str) -> str:
    location = folder / name
    return str(location.absolute() if isinstance(location, Path) else location)


def _split_pictures(words: str) -> Iterator[str]:
    for piece in re.split(r"[|;\n]|,(?=\s*[a-zA-Z][a-zA-Z0-9+.-]*://)", words):
        names = [name.strip() for name in piece.split(",")]
        several = not _URL.match(piece.strip()) and all(name.lower().endswith(PICTURE_SUFFIXES) for name in names)
        yield from names if several else [piece.strip()]


def _short(cell: Any) -> str:
    words = str(cell)
    return repr(words if len(words) <= 60 else f"{words[:57]}...")
