"""A catalog file as Products, with a reason and a remedy for every row or field that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.catalog import fields
from app.catalog.problems import Problem, Report, Severity
from app.catalog.tables import BrokenRow, read_rows
from app.errors import CatalogError
from app.schema import Product

log = logging.getLogger(__name__)

NUMBER_COLUMNS = frozenset({"price", "rating", "weight", "width", "height", "depth", "length", "diameter"})
UNITS = ("_price", "_cm", "_mm", "_m", "_in", "_kg", "_g", "_lb", "_oz", "_l", "_ml", "_w", "_v", "_inch")
_ATTRIBUTE_PREFIXES = ("attributes.", "attr_")
_NUMBER_PREFIX = "numbers."
_TITLE_PREFIX = "titles."

_SCALARS: dict[str, Callable[[Any], Any]] = {
    "group_id": fields.optional,
    "url": fields.link,
    "licence": fields.optional,
    "licence_url": fields.link,
    "creator": fields.optional,
    "attribution": fields.optional,
}
_KNOWN = {"id", "title", "titles", "category", "attributes", "numbers", "images", *_SCALARS}


@dataclass(frozen=True)
class CatalogRow:
    """A valid product and the number of its data row, counted from 1."""

    number: int
    product: Product


def read_catalog(file: Path, report: Report) -> list[CatalogRow]:
    """The valid products of ``file`` in its order; of several rows with one id the last one counts.

    Raises CatalogError if the file cannot be read or has no ``id`` column.
    """
    rows: dict[str, CatalogRow] = {}
    for row in _valid_rows(file, report):
        _keep_last(rows, row, report)
    return list(rows.values())


def stream_catalog(file: Path, report: Report) -> Iterator[CatalogRow]:
    """The same products one at a time, for catalogs that need not fit into memory; the file is read twice.

    Products whose id occurs several times come last. Raises CatalogError as :func:`read_catalog` does.
    """
    repeated = _repeated_ids(file)
    rows: dict[str, CatalogRow] = {}
    for row in _valid_rows(file, report):
        if row.product.id in repeated:
            _keep_last(rows, row, report)
        else:
            yield row
    yield from rows.values()


def _repeated_ids(file: Path) -> set[str]:
    seen: set[str] = set()
    repeated: set[str] = set()
    for cells in read_rows(file):
        if isinstance(cells, BrokenRow):
            continue
        for _, key, _ in fields.each({"id": cells.get("id")}, fields.text):
            (repeated if key in seen else seen).add(key)
    return repeated


def _keep_last(rows: dict[str, CatalogRow], row: CatalogRow, report: Report) -> None:
    if row.product.id in rows:
        report.add([_duplicate(rows.pop(row.product.id), row.number)])
    rows[row.product.id] = row


def _valid_rows(file: Path, report: Report) -> Iterator[CatalogRow]:
    ignored: set[str] = set()
    empty = True
    for number, cells in enumerate(read_rows(file), start=1):
        empty = False
        if isinstance(cells, BrokenRow):
            report.add([Problem("reject", "", number, "row", str(cells), "correct or remove the row")])
            continue
        if number == 1 and "id" not in cells and file.suffix.lower() not in (".jsonl", ".ndjson"):
            raise CatalogError(f"{file}: there is no column 'id'; it has: {', '.join(cells)}")
        ignored |= {name for name in cells if not is_used(name)}
        parser = _RowParser(number, cells, file.parent)
        product = parser.product()
        report.add(parser.problems)
        if product is not None:
            yield CatalogRow(number, product)
    if empty:
        raise CatalogError(f"{file}: the catalog has no rows; export it again")
    if ignored:
        log.info("%s: columns that are not used: %s", file.name, ", ".join(sorted(ignored)))


def _duplicate(earlier: CatalogRow, number: int) -> Problem:
    reason = f"row {number} has the same id, the last one counts"
    return Problem("reject", earlier.product.id, earlier.number, "id", reason, "give every product its own id")


def is_used(column: str) -> bool:
    """Whether a product has something of a column of this name."""
    return column in _KNOWN or _is_number(column) or column.startswith((*_ATTRIBUTE_PREFIXES, _TITLE_PREFIX))


def _is_number(column: str) -> bool:
    return column in NUMBER_COLUMNS or column.endswith(UNITS) or column.startswith(_NUMBER_PREFIX)


class _RowParser:
    """Turns the cells of one row into a Product and collects what it had to leave out."""

    def __init__(self, number: int, cells: Mapping[str, Any], folder: Path) -> None:
        self._number = number
        self._cells = cells
        self._folder = folder
        self._id = ""
        self.problems: list[Problem] = []

    def product(self) -> Product | None:
        self._id = self._read("id", fields.text, "")
        if not self._id:
            self._reject("id", "the id is missing", "give every product an id")
            return None
        title = self._read("title", fields.text, "")
        images = self._read("images", lambda cell: fields.pictures(cell, self._folder), [])
        if not title and not images:
            self._reject("title", "neither title nor picture", "add a title or at least one picture")
            return None
        try:
            return Product(
                id=self._id,
                title=title,
                titles=dict(self._entries("titles", self._prefixed("titles", (_TITLE_PREFIX,)), fields.text)),
                category=self._read("category", fields.category, []),
                attributes=dict(self._attributes()),
                numbers=dict(self._numbers()),
                images=images,
                **{name: self._read(name, parse, None) for name, parse in _SCALARS.items()},
            )
        except ValidationError as error:
            first = error.errors()[0]
            self._reject(".".join(map(str, first["loc"])), first["msg"], "correct the value")
            return None

    def _attributes(self) -> Iterator[tuple[str, list[str]]]:
        columns = self._columns(_ATTRIBUTE_PREFIXES)
        yield from self._entries("attributes", self._struct("attributes"), fields.keywords)
        yield from self._entries("attributes", columns, fields.separated_keywords)

    def _numbers(self) -> Iterator[tuple[str, float]]:
        columns = {name: cell for name, cell in self._cells.items() if _is_number(name) and name != "numbers"}
        cells = self._struct("numbers") | {name.removeprefix(_NUMBER_PREFIX): cell for name, cell in columns.items()}
        for key, value in self._entries("numbers", cells, fields.number):
            if value < 0 and key.endswith("price"):
                self._warn(key, f"a negative price, {value:g}")
            else:
                yield key, value

    def _entries(self, field: str, cells: Mapping[str, Any], parse: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
        for key, value, reason in fields.each(cells, parse):
            if reason:
                self._warn(f"{field}.{key}", reason)
            elif not key or '"' in key:
                self._warn(field, f"the key {key!r} is empty or has a double quote")
            else:
                yield key, value

    def _prefixed(self, column: str, prefixes: tuple[str, ...]) -> dict[str, Any]:
        return self._struct(column) | self._columns(prefixes)

    def _columns(self, prefixes: tuple[str, ...]) -> dict[str, Any]:
        found = ((name, next((p for p in prefixes if name.startswith(p)), None)) for name in self._cells)
        return {name.removeprefix(prefix): self._cells[name] for name, prefix in found if prefix}

    def _struct(self, column: str) -> dict[str, Any]:
        return dict(self._read(column, fields.mapping, {}))

    def _read(self, column: str, parse: Callable[[Any], Any], default: Any) -> Any:
        try:
            return parse(self._cells.get(column))
        except ValueError as error:
            self._warn(column, str(error))
            return default

    def _warn(self, field: str, reason: str) -> None:
        self._add("warning", field, reason, "the product is indexed without it; correct the value")

    def _reject(self, field: str, reason: str, remedy: str) -> None:
        self._add("reject", field, reason, remedy)

    def _add(self, severity: Severity, field: str, reason: str, remedy: str) -> None:
        self.problems.append(Problem(severity, self._id, self._number, field, reason, remedy))
