"""Catalog files as rows. Text formats are read row by row, so that a broken row costs only itself."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from app.catalog.encodings import NAMES, UTF_8, WINDOWS, has_stray_bytes, text_encoding
from app.errors import CatalogError

BATCH_ROWS = 10_000
SEPARATORS = ",;\t|"
LOOK_AT_LINES = 20


class BrokenRow(str):
    """Stands in for a row that cannot be read: the reason."""


Row = dict[str, Any] | BrokenRow


def read_rows(file: Path, suffix: str = "") -> Iterator[Row]:
    """The rows of a file of one of :data:`FORMATS`, one after the other.

    Values keep the types of the file: strings in separated text, anything in Parquet and JSON. Column names are
    stripped. Encoding and separator are found by the content. ``suffix`` says what the file is where its name does not.

    Raises CatalogError if the file as a whole cannot be read.
    """
    reader = _READERS.get(suffix or file.suffix.lower())
    if reader is None:
        raise CatalogError(f"{file}: unknown catalog format; use one of {', '.join(_READERS)}")
    if not file.is_file():
        raise CatalogError(f"{file}: there is no such catalog file; check the path")
    try:
        yield from reader(file)
    except OSError as error:
        raise CatalogError(f"{file}: the catalog cannot be read ({error.strerror or error})") from error


def _read_parquet(file: Path) -> Iterator[Row]:
    try:
        for batch in pl.scan_parquet(file, glob=False).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            yield from batch.rename(str.strip).iter_rows(named=True)
    except pl.exceptions.PolarsError as error:
        raise CatalogError(f"{file}: not a complete Parquet file ({error}); export the catalog again") from error


def _read_csv(file: Path) -> Iterator[Row]:
    encoding = text_encoding(file)
    with _text(file, encoding, newline="") as stream:
        header = stream.readline()
        if header.lower().startswith("sep="):  # a line that spreadsheets write before the header
            separator = header[4:5]
        else:
            separator = _separator([header, *islice(stream, LOOK_AT_LINES)])
            stream.seek(0)
        reader = csv.reader(stream, delimiter=separator)
        names = [name.strip() for name in _next_line(reader) or []]
        if twice := sorted({name for name in names if name and names.count(name) > 1}):
            raise CatalogError(f"{file}: the header names {', '.join(twice)} more than once; rename the columns")
        while (fields := _next_line(reader)) is not None:
            if isinstance(fields, BrokenRow):
                yield fields
            elif any(fields[len(names) :]):
                yield BrokenRow(f"{len(fields)} fields, the header has {len(names)}; a separator without quotes?")
            elif any(fields):
                row = {name: cell for name, cell in zip(names, fields, strict=False) if name}
                yield BrokenRow(f"not {NAMES[encoding]} text") if has_stray_bytes("".join(fields)) else row


def _separator(lines: list[str]) -> str:
    """The mark that leaves no quote amid a field and gives the most lines as many fields as the header, and many."""

    def sizes(mark: str, *, strict: bool) -> list[int]:
        try:
            return [len(fields) for fields in csv.reader(lines, delimiter=mark, strict=strict)]
        except csv.Error:
            return []

    def fit(mark: str) -> tuple[bool, int, int]:
        well_quoted, found = sizes(mark, strict=True), sizes(mark, strict=False)
        header = found[0] if found else 0
        return (bool(well_quoted), found.count(header), header) if header > 1 else (False, 0, 0)

    return max(SEPARATORS, key=fit)


def _next_line(reader: Iterator[list[str]]) -> list[str] | BrokenRow | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        return BrokenRow(f"not valid CSV ({error})")


def _read_json_lines(file: Path) -> Iterator[Row]:
    encoding = text_encoding(file).replace(WINDOWS, UTF_8)  # JSON is Unicode by its definition
    with _text(file, encoding) as stream:
        for line in stream:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield BrokenRow(f"not valid JSON ({error})")
                continue
            if has_stray_bytes(line):
                yield BrokenRow(f"not {NAMES[encoding]} text")
            elif not isinstance(row, dict):
                yield BrokenRow(f"a JSON {type(row).__name__}, not an object")
            else:
                yield {str(name).strip(): value for name, value in row.items()}


def _text(file: Path, encoding: str, newline: str | None = None) -> TextIO:
    stray = "replace" if encoding.startswith("utf-16") else "surrogateescape"
    return file.open(encoding=encoding, errors=stray, newline=newline)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}

FORMATS = tuple(_READERS)
"""What the names of catalog files end with; ``.txt`` is separated text, as feeds for advertisers are."""
