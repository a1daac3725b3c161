"""Columns and splits under the many names that data sets give them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from app.catalog.tables import Row
from app.errors import CatalogError
from trainer.data.record import Split

PEEK_ROWS = 100
"""Rows whose columns count as those of the file: JSON lines may leave out what is empty."""

SPLIT_NAMES: Mapping[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "eval"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Columns:
    """Finds our fields in a file's columns. ``aliases`` has the names of each field, the best first.

    Names are compared without case, and with spaces and hyphens as underscores.
    """

    def __init__(self, aliases: Mapping[str, tuple[str, ...]]) -> None:
        self._aliases = aliases
        self._found: dict[str, None] = {}
        self._fields: dict[str, None] = {}
        self._used: set[str] = set()
        self._names: dict[tuple[str, ...], list[tuple[str, str]]] = {}

    def peek(self, file: Path, rows: Iterator[Row]) -> Iterator[Row]:
        """The same rows, after a look at the first ones for :meth:`has` and :meth:`need`."""
        first = list(islice(rows, PEEK_ROWS))
        if not first:
            raise CatalogError(f"{file}: the file has no rows; export it again")
        for cells in first:
            if isinstance(cells, dict):
                self._found |= dict.fromkeys(cells)
                columns = self._columns(cells)
                self._fields |= dict.fromkeys(field for field, _ in columns)
                self._used |= {name for _, name in columns}
        return chain(first, rows)

    def has(self, field: str) -> bool:
        """Whether the first rows have a column for the field."""
        return field in self._fields

    def need(self, file: Path, fields: str, what: str) -> None:
        """Raises CatalogError that lists the columns found unless there is one for any of ``fields``."""
        if not any(self.has(field) for field in fields.split()):
            names = ", ".join(name for field in fields.split() for name in self._aliases[field])
            found = ", ".join(self._found) or "none that can be read"
            raise CatalogError(f"{file}: no column for the {what}; name one of them {names}. Columns found: {found}")

    @property
    def unused(self) -> list[str]:
        """The columns of the first rows that no field was found in."""
        return [name for name in self._found if name not in self._used]

    def named(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The cells of a row under our names; fields without a column are missing."""
        return {field: cells[name] for field, name in self._columns(cells)}

    def _columns(self, cells: Mapping[str, Any]) -> list[tuple[str, str]]:
        names = tuple(cells)
        if names not in self._names:
            if len(self._names) >= PEEK_ROWS:
                self._names.clear()
            plain = {plain_name(name): name for name in reversed(names)}
            self._names[names] = [
                (field, plain[alias])
                for field, aliases in self._aliases.items()
                if (alias := next((alias for alias in aliases if alias in plain), None))
            ]
        return self._names[names]


def plain_name(column: str) -> str:
    """
    >>> plain_name("Query bbox")
    'query_bbox'
    """
    return re.sub(r"[\s-]+", "_", column.strip().casefold())


def split_of_name(file: Path, otherwise: Split = "train") -> Split:
    """The split that a file's name tells, else ``otherwise``.

    >>> split_of_name(Path("mbe-test-00001.jsonl")), split_of_name(Path("valid.jsonl")), split_of_name(Path("a.jsonl"))
    ('test', 'dev', 'train')
    """
    words = re.split(r"[^a-z]+", file.stem.casefold())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), otherwise)
