"""Catalog files as rows. Text formats are read row by row, so that a broken row costs only itself."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from app.errors import CatalogError

BATCH_ROWS = 10_000
_RAW_BYTE = re.compile("[\udc80-\udcff]")


class BrokenRow(str):
    """Stands in for a row that cannot be read: the reason."""


Row = dict[str, Any] | BrokenRow


def read_rows(file: Path, suffix: str = "") -> Iterator[Row]:
    """The rows of a ``.parquet``, ``.csv``, ``.tsv``, ``.jsonl`` or ``.ndjson`` file, one after the other.

    Values keep the types of the file: strings in CSV, anything in Parquet and JSON. Column names are stripped.
    ``suffix`` says what the file is where its name does not.

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
            for row in batch.iter_rows(named=True):
                yield {name.strip(): value for name, value in row.items()}
    except pl.exceptions.PolarsError as error:
        raise CatalogError(f"{file}: not a complete Parquet file ({error}); export the catalog again") from error


def _read_csv(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        header = stream.readline()
        stream.seek(0)
        separator = "\t" if file.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
        reader = csv.reader(stream, delimiter=separator)
        names = [name.strip() for name in _next_line(reader) or []]
        if len(names) != len(set(names)):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise CatalogError(f"{file}: the header names {', '.join(twice)} more than once; rename the columns")
        while (fields := _next_line(reader)) is not None:
            if isinstance(fields, BrokenRow):
                yield fields
            elif len(fields) > len(names):
                yield BrokenRow(f"{len(fields)} fields, the header has {len(names)}; a separator without quotes?")
            elif fields:
                row = dict(zip(names, fields, strict=False))
                yield BrokenRow("not UTF-8 text") if _has_raw_bytes("".join(fields)) else row


def _next_line(reader: Iterator[list[str]]) -> list[str] | BrokenRow | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        return BrokenRow(f"not valid CSV ({error})")


def _has_raw_bytes(text: str) -> bool:
    return not text.isascii() and _RAW_BYTE.search(text) is not None


def _read_json_lines(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        for line in stream:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield BrokenRow(f"not valid JSON ({error})")
                continue
            if _has_raw_bytes(line):
                yield BrokenRow("not UTF-8 text")
            elif not isinstance(row, dict):
                yield BrokenRow(f"a JSON {type(row).__name__}, not an object")
            else:
                yield {str(name).strip(): value for name, value in row.items()}


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
