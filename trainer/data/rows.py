"""Rows of JSON files in their three forms, beside the tables that catalogs may be: lines, one array, one object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import ijson

from app.catalog.tables import BrokenRow, Row, read_rows
from app.errors import CatalogError

JsonForm = Literal["lines", "array", "object"]
LINE_SUFFIXES = (".jsonl", ".ndjson", ".json")
_PEEK_BYTES = 1_000_000


def read_any(file: Path) -> Iterator[Row]:
    """The rows of a table (see :func:`app.catalog.tables.read_rows`), of JSON lines under any name, or a JSON array.

    Raises CatalogError if the file as a whole cannot be read.
    """
    if file.suffix.lower() != ".json":
        yield from read_rows(file)
    elif json_form(file) == "array":
        with _json(file) as stream:
            for value in ijson.items(stream, "item", use_float=True):
                if isinstance(value, dict):
                    yield {name.strip(): cell for name, cell in value.items()}
                else:
                    yield BrokenRow(f"a JSON {type(value).__name__}, not an object")
    else:
        yield from read_rows(file, ".jsonl")


def read_members(file: Path) -> Iterator[tuple[str, Any]]:
    """Name and value of the members of a file that is one JSON object, one at a time.

    Raises CatalogError if it is not valid JSON; the members before the fault have been yielded by then.
    """
    with _json(file) as stream:
        yield from ijson.kvitems(stream, "", use_float=True)


def json_form(file: Path) -> JsonForm:
    """Whether a JSON file is an array, one object, or lines of objects, told by its beginning.

    A first line that is a whole object and holds no objects itself is a row, even if it is the only line.
    """
    with _json(file) as stream:
        start = stream.read(_PEEK_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"["):
        return "array"
    line, _, rest = start.partition(b"\n")
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        return "object"
    is_row = isinstance(first, dict) and not all(isinstance(value, dict) for value in first.values())
    return "lines" if is_row or rest.strip() else "object"


def first_columns(file: Path) -> set[str]:
    """Columns of the first rows; where rows are ``{id: {...}}``, or the file is one such object, those inside."""
    if file.suffix.lower() == ".json" and json_form(file) == "object":
        rows: Iterator[Any] = (value for _, value in read_members(file))
    else:
        rows = (only_member(row)[1] if isinstance(row, dict) else row for row in read_any(file))
    return {name for row in islice(rows, 20) if isinstance(row, dict) for name in row}


def only_member(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Id and cells of a row ``{id: {...}}``; any other row is returned whole, without an id.

    >>> only_member({"7": {"title": "chair"}}), only_member({"title": "chair"})
    (('7', {'title': 'chair'}), ('', {'title': 'chair'}))
    """
    name, value = next(iter(row.items()), ("", None))
    return (name, value) if len(row) == 1 and isinstance(value, dict) else ("", row)


@contextmanager
def _json(file: Path) -> Iterator[Any]:
    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        raise CatalogError(f"{file}: the file cannot be read ({error.strerror or error}); check the path") from error
    except ijson.JSONError as error:
        raise CatalogError(f"{file}: not valid JSON ({error}); export it again") from error
