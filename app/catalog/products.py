"""A catalog as Products, with a reason and a remedy for every row or field that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from app.catalog import fields
from app.catalog.columns import Columns, Mapped, choose
from app.catalog.encodings import WINDOWS, text_encoding
from app.catalog.exports import Numbered, one_product_a_row
from app.catalog.parser import RowParser
from app.catalog.problems import Problem, Report
from app.catalog.sources import CatalogFile, catalog_files
from app.catalog.tables import BrokenRow, read_rows
from app.errors import CatalogError
from app.schema import Product

Tell = Callable[[str, Columns], None]

PEEK_ROWS = 100
"""Rows whose columns count as those of a file: JSON lines may leave out what is empty."""


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """A valid product, the number of its data row, counted from 1, and its file where a catalog has several."""

    number: int
    product: Product
    file: str = ""


@dataclass(frozen=True)
class Table:
    """One file of a catalog: how its columns are understood, and its rows. The rows can be read once."""

    file: CatalogFile
    columns: Columns
    rows: Iterable[Numbered]
    label: str


def stream_catalog(
    location: Path | str, report: Report, given: Mapped | None = None, tell: Tell = lambda file, columns: None
) -> Iterator[CatalogRow]:
    """The valid products of a catalog one at a time; of several rows with one id the last one counts, and comes last.

    ``location`` as in :func:`~app.catalog.sources.catalog_files`, ``given`` as in :func:`~app.catalog.columns.choose`;
    ``tell`` gets the name of each file and how its columns are understood. Every file is read twice.
    Raises CatalogError if the catalog cannot be read or has no ``id``.
    """
    with catalog_files(location) as files:
        repeated = _repeated_ids(files, given)
        rows: dict[str, CatalogRow] = {}
        for row in _valid_rows(files, report, given, tell):
            key = row.product.id
            if key not in repeated:
                yield row
            else:
                if key in rows:
                    report.add([_duplicate(rows.pop(key), row)])
                rows[key] = row
    yield from rows.values()


def _repeated_ids(files: list[CatalogFile], given: Mapped | None) -> set[str]:
    seen: set[str] = set()
    repeated: set[str] = set()
    for table in _tables(files, given):
        names = table.columns.used.get("id", ())
        for _, cells in table.rows:
            if isinstance(cells, dict):
                cell = next((cells[name] for name in names if cells.get(name) not in (None, "")), None)
                key = "" if isinstance(cell, list | dict) else fields.text(cell)
                (repeated if key in seen else seen).add(key)
    return repeated


def _valid_rows(files: list[CatalogFile], report: Report, given: Mapped | None, tell: Tell) -> Iterator[CatalogRow]:
    for table in _tables(files, given):
        tell(table.file.name, table.columns)
        if _is_windows(table.file):
            reason = "not UTF-8; read as Windows-1252, the usual encoding of spreadsheets in Western Europe"
            remedy = "look at the letters in `indexer validate`; save the catalog as UTF-8"
            report.add([Problem("warning", "", 0, "encoding", reason, remedy, table.label)])
        for number, cells in table.rows:
            if isinstance(cells, BrokenRow):
                reason, remedy = str(cells), "correct or remove the row"
                report.add([Problem("reject", "", number, "row", reason, remedy, table.label)])
                continue
            parser = RowParser(number, table.columns.named(cells), table.file.folder, table.label)
            product = parser.product()
            report.add(parser.problems)
            if product is not None:
                yield CatalogRow(number, product, table.label)


def _is_windows(file: CatalogFile) -> bool:
    return file.suffix in (".csv", ".tsv", ".txt") and text_encoding(file.path) == WINDOWS


def _tables(files: list[CatalogFile], given: Mapped | None) -> Iterator[Table]:
    for file in files:
        with _named_errors(file):
            rows = enumerate(read_rows(file.path, file.suffix), start=1)
            first = list(islice(rows, PEEK_ROWS))
            if not first:
                raise CatalogError(f"{file.path}: the catalog has no rows; export it again")
            seen = list(dict.fromkeys(name for _, cells in first if isinstance(cells, dict) for name in cells))
            settled, numbered = one_product_a_row(seen, chain(first, rows))
            try:
                columns = choose(seen, {**settled, **(given or {})})
            except CatalogError as error:
                raise CatalogError(f"{file.path}: {error}") from error
            if seen and "id" not in columns.used:
                found = f"it has: {', '.join(seen)}"
                raise CatalogError(f"{file.path}: there is no column 'id'; {found}. Name it with --map id=COLUMN")
            yield Table(file, columns, numbered, file.name if len(files) > 1 else "")


@contextmanager
def _named_errors(file: CatalogFile) -> Iterator[None]:
    """Errors name the catalog, not its temporary copy."""
    try:
        yield
    except CatalogError as error:
        raise CatalogError(str(error).replace(str(file.path), file.name)) from error


def _duplicate(earlier: CatalogRow, later: CatalogRow) -> Problem:
    place = f"row {later.number}{f' of {later.file}' if later.file != earlier.file else ''}"
    reason, remedy = f"{place} has the same id, the last one counts", "give every product its own id"
    return Problem("reject", earlier.product.id, earlier.number, "id", reason, remedy, earlier.file)
