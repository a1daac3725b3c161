"""What `trainer augment` writes for training, and for a person to judge: parquet, and CSV for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from app.spreadsheet import defused
from trainer.augmentation.config import TITLE
from trainer.augmentation.kept import Candidate, Kept
from trainer.data.augmented import FILE, SCHEMA
from trainer.data.record import Item

REJECTS, REJECTS_CSV, TITLES_CSV = "rejects.parquet", "rejects.csv", "titles.csv"
REJECT_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "kind", "what")] + [("score", pa.float32())] + [("reason", pa.string())]
)
TITLE_COLUMNS = ("id", "before", "after", "score", "verdict", "reason")
Judged = tuple[Item, Kept, Sequence[str]]
"""A product, what was made of it, and the reason against each of that (empty: kept)."""


class Tables:
    """augmented.parquet with ``note``, the rejected as parquet and CSV, and titles.csv before and after, in a folder.

    Use it as a context manager. No cell of the CSV files is a formula.
    """

    files = (FILE, REJECTS, REJECTS_CSV, TITLES_CSV)

    def __init__(self, folder: Path, note: dict[bytes, str]) -> None:
        self._folder, self._schema = folder, SCHEMA.with_metadata(note)

    def __enter__(self) -> Self:
        self._open = ExitStack()
        self._good = self._open.enter_context(pq.ParquetWriter(self._folder / FILE, self._schema))
        self._bad = self._open.enter_context(pq.ParquetWriter(self._folder / REJECTS, REJECT_SCHEMA))
        self._rejects = self._csv(REJECTS_CSV, REJECT_SCHEMA.names)
        self._titles = self._csv(TITLES_CSV, TITLE_COLUMNS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, products: Sequence[Judged]) -> None:
        good, bad = list[dict[str, Any]](), list[dict[str, Any]]()
        for item, made, verdicts in products:
            for one, reason in zip(made.candidates, verdicts, strict=True):
                if reason:
                    told = {"id": item.id, "kind": one.kind, "what": one.what or _location(one, item)}
                    bad.append({**told, "score": one.score, "reason": reason})
                    self._rejects.writerow(_cells(bad[-1].values()))
                else:
                    good.append({"id": item.id, "kind": one.kind, "source": made.source, **_kept(one, item)})
                if one.kind == TITLE:
                    verdict = "rejected" if reason else "kept"
                    self._titles.writerow(_cells((item.id, item.title, one.what, one.score, verdict, reason)))
        table = pa.Table.from_pylist(good, schema=SCHEMA)
        self._good.write_table(table.replace_schema_metadata(self._schema.metadata))
        self._bad.write_table(pa.Table.from_pylist(bad, schema=REJECT_SCHEMA))

    def _csv(self, name: str, columns: Sequence[str]) -> Any:
        file = (self._folder / name).open("w", newline="", encoding="utf-8", errors="replace")
        writer = csv.writer(self._open.enter_context(file))
        writer.writerow(columns)
        return writer


def _kept(one: Candidate, item: Item) -> dict[str, Any]:
    what = {"title": one.what} if one.kind == TITLE else {"path": one.what, "picture": _location(one, item)}
    return {**what, "box": one.box, "score": one.score, "category_score": one.category_score}


def _location(one: Candidate, item: Item) -> str:
    """Where the picture lies now that a candidate was made of, or was to be; empty for a title."""
    return "" if one.picture is None else item.pictures[one.picture].location


def _cells(row: Any) -> list[str]:
    """Cells for a spreadsheet; scores to four digits."""
    return [f"{cell:.4f}" if isinstance(cell, float) else defused(cell or "") for cell in row]
