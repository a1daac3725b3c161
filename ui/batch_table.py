"""The table that a batch of predictions becomes: on the page, and to download for a spreadsheet."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple

from app.schema import CATEGORY_SEPARATOR, Candidate, Prediction, Sure
from app.spreadsheet import defused
from ui.language import ENGLISH, Language
from ui.markup import notice, text

SHOWN_ROWS = 50
"""Rows that the page shows; the download has all."""

MAX_COLUMNS = 500
"""Columns of the tables that the download has."""
OURS = "predicted "
"""Stands before a column of ours whose name a table already has."""

Cells = Mapping[str, str]
"""Cells by column."""


class Row(NamedTuple):
    """A row of a table or a photo: ``kept`` are its own columns, ``added`` its ``problem`` or its predicted cells."""

    item: str
    title: str
    kept: Cells
    added: Cells

    @property
    def shown(self) -> Cells:
        """What the page shows of it."""
        return {"item": self.item, "title": self.title, **self.added}


def predicted_cells(predicted: Prediction) -> dict[str, str]:
    """The most probable category of each level and value of each attribute, how probable, and whether that is sure."""
    cells: dict[str, str] = {}
    sure = predicted.sure or Sure()
    known = chain(sure.categories, repeat(None))
    for depth, (candidates, is_sure) in enumerate(zip(predicted.categories, known, strict=False), start=1):
        cells |= _best(f"category.{depth}", candidates, is_sure)
    for key, candidates in predicted.attributes.items():
        cells |= _best(f"attributes.{key}", candidates, sure.attributes.get(key))
    return cells


def report(rows: Sequence[Row], remark: str = "", say: Language = ENGLISH) -> str:
    """How many were predicted, ``remark``, the download and the first rows, as HTML."""
    kept = list(dict.fromkeys(chain.from_iterable(row.kept for row in rows)))
    added = list(dict.fromkeys(["problem", *chain.from_iterable(row.added for row in rows)]))
    bad = sum(bool(row.added.get("problem")) for row in rows)
    said = [
        say("{good} predicted, {bad} not (the column problem says why).", good=f"{len(rows) - bad:,}", bad=f"{bad:,}"),
        remark,
    ]
    if len(rows) > SHOWN_ROWS:
        said.append(say("The first {count} rows are shown; the download has all.", count=SHOWN_ROWS))
    if len(kept) > MAX_COLUMNS:
        said.append(say("Of your columns the download has the first {count}.", count=MAX_COLUMNS))
    done = notice(say("Done"), " ".join(filter(None, said)))
    download = _download(kept[:MAX_COLUMNS], added, rows, say)
    return f"{done}{download}{_table(['item', 'title', *added], rows[:SHOWN_ROWS], say)}"


def _best(column: str, candidates: Sequence[Candidate], sure: bool | None) -> dict[str, str]:
    if not candidates:
        return {}
    name = (
        candidates[0].label.rsplit(CATEGORY_SEPARATOR, 1)[-1] if column.startswith("category") else candidates[0].label
    )
    cells = {column: name, f"{column} probability": f"{candidates[0].probability:.3f}"}
    return cells if sure is None else {**cells, f"{column} sure": "yes" if sure else "no"}


def _download(kept: Sequence[str], added: Sequence[str], rows: Sequence[Row], say: Language) -> str:
    """The file stands in the link itself, so that none lies on the server."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(map(defused, [_ours("item", kept), *kept, *(_ours(column, kept) for column in added)]))
    for row in rows:
        cells = chain((row.kept.get(name, "") for name in kept), (row.added.get(name, "") for name in added))
        writer.writerow(map(defused, [row.item, *cells]))
    data = base64.b64encode(file.getvalue().encode("utf-8-sig", "replace")).decode()
    file_link = f'download="predictions.csv" href="data:text/csv;base64,{data}"'
    return f'<a class="button" {file_link}>{say("Download as CSV")}</a>'


def _ours(column: str, kept: Sequence[str]) -> str:
    """The name of a column of ours beside those of the tables."""
    while column in kept:
        column = f"{OURS}{column}"
    return column


def _table(columns: Sequence[str], rows: Sequence[Row], say: Language) -> str:
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(f"<tr>{_cells(columns, row.shown)}</tr>" for row in rows)
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{say("Predictions")}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(columns: Sequence[str], row: Cells) -> str:
    return "".join(f"<td>{text(row.get(column, ''))}</td>" for column in columns)
