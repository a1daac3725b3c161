"""A catalog with what its products lack filled in, and a table of every value that was proposed."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from app.catalog.columns import Mapped
from app.catalog.problems import Problem, Report
from app.catalog.products import stream_catalog
from app.complete import Completed, Completer
from app.errors import BadInputError
from app.settings import Settings
from app.spreadsheet import defused
from indexer.pictures import Prepared, prepare_ahead
from indexer.progress import Track, untracked

CATALOG, PROPOSALS = "catalog.jsonl", "proposals.csv"
COLUMNS = ("id", "field", "value", "confidence", "sure", "filled in", "source", "neighbours")
SURE = {None: "", True: "yes", False: "no"}
BETWEEN = "|"


@dataclass
class Completion:
    """What a run did: products read and completed, proposals and fillings by field, and what was wrong with rows."""

    products: int = 0
    completed: int = 0
    fields: dict[str, tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))
    report: Report = field(default_factory=Report)

    def count(self, done: Completed) -> None:
        self.completed += bool(done.filled)
        for proposal in done.proposals:
            proposed, filled = self.fields[proposal.field]
            self.fields[proposal.field] = proposed + 1, filled + (proposal.field in done.filled)


def complete(
    catalog: str,
    out: Path,
    completer: Completer,
    settings: Settings,
    track: Track = untracked,
    given: Mapped | None = None,
) -> Completion:
    """Write ``CATALOG``, which the indexer reads, and ``PROPOSALS`` into the folder ``out``, both when all is done.

    A product that cannot be looked at is written as it is, with a problem in the report; rows that the indexer rejects
    are reported and left out. Raises BadInputError if ``out`` holds one of the files already, CatalogError if the
    catalog cannot be read, IndexUnavailableError while no build is published.
    """
    for name in (CATALOG, PROPOSALS):
        if (out / name).exists():
            raise BadInputError(f"{out / name} is there already; name another folder, or delete it")
    out.mkdir(parents=True, exist_ok=True)
    outcome = Completion()
    partial = {name: out / f"{name}.partial" for name in (CATALOG, PROPOSALS)}
    with ExitStack() as files, track("Products", None) as advance:
        products = files.enter_context(partial[CATALOG].open("w", encoding="utf-8"))
        proposals = csv.writer(files.enter_context(partial[PROPOSALS].open("w", encoding="utf-8-sig", newline="")))
        proposals.writerow(COLUMNS)
        rows = stream_catalog(catalog, outcome.report, given)
        for batch in _batches(prepare_ahead(rows, None, settings), settings.batch_size):
            for done in _completed(batch, completer, outcome.report):
                _write(done, products, proposals)
                outcome.count(done)
            outcome.products += len(batch)
            advance(len(batch))
    for name, file in partial.items():
        file.replace(out / name)
    return outcome


def _batches(items: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _completed(batch: list[Prepared], completer: Completer, report: Report) -> Iterator[Completed]:
    outcomes = completer.complete_many([item.row.product for item in batch], [item.images for item in batch])
    for item, outcome in zip(batch, outcomes, strict=True):
        report.add(item.problems)
        if isinstance(outcome, Completed):
            yield outcome
        else:
            row = item.row
            remedy = "the product stays as it is; correct it"
            report.add([Problem("warning", row.product.id, row.number, "product", str(outcome), remedy, row.file)])
            yield Completed(row.product)


def _write(done: Completed, products: IO[str], proposals: Any) -> None:
    products.write(done.product.model_dump_json(exclude_defaults=True) + "\n")
    for one in done.proposals:
        row: Mapping[str, str] = {
            "id": done.product.id,
            "field": one.field,
            "value": one.value,
            "confidence": "" if one.confidence is None else f"{one.confidence:.3f}",
            "sure": SURE[one.sure],
            "filled in": "yes" if one.field in done.filled else "no",
            "source": one.source,
            "neighbours": BETWEEN.join(one.neighbours),
        }
        proposals.writerow([defused(row[column]) for column in COLUMNS])
