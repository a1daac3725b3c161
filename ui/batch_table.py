"""The table that a batch of predictions becomes: on the page, and to download for a spreadsheet."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from itertools import chain, repeat

from app.schema import CATEGORY_SEPARATOR, Candidate, Prediction, Sure
from app.spreadsheet import defused
from ui.language import ENGLISH, Language
from ui.markup import notice, text

SHOWN_ROWS = 50
"""Rows that the page shows; the download has all."""

Row = dict[str, str]
"""Cells by column: ``item``, ``title``, ``problem``, and what :func:`predicted_cells` gives."""


def predicted_cells(predicted: Prediction) -> Row:
    """The most probable category of each level and value of each attribute, how probable, and whether that is sure."""
    cells: Row = {}
    sure = predicted.sure or Sure()
    known = chain(sure.categories, repeat(None))
    for depth, (candidates, is_sure) in enumerate(zip(predicted.categories, known, strict=False), start=1):
        cells |= _best(f"category.{depth}", candidates, is_sure)
    for key, candidates in predicted.attributes.items():
        cells |= _best(f"attributes.{key}", candidates, sure.attributes.get(key))
    return cells


def report(rows: Sequence[Row], remark: str = "", say: Language = ENGLISH) -> str:
    """How many were predicted, ``remark``, the download and the first rows, as HTML."""
    columns = list(dict.fromkeys(["item", "title", "problem", *chain.from_iterable(rows)]))
    bad = sum(bool(row.get("problem")) for row in rows)
    said = [
        say("{good} predicted, {bad} not (the column problem says why).", good=f"{len(rows) - bad:,}", bad=f"{bad:,}"),
        remark,
    ]
    if len(rows) > SHOWN_ROWS:
        said.append(say("The first {count} rows are shown; the download has all.", count=SHOWN_ROWS))
    done = notice(say("Done"), " ".join(filter(None, said)))
    return f"{done}{_download(columns, rows, say)}{_table(columns, rows[:SHOWN_ROWS], say)}"


def _best(column: str, candidates: Sequence[Candidate], sure: bool | None) -> Row:
    if not candidates:
        return {}
    name = (
        candidates[0].label.rsplit(CATEGORY_SEPARATOR, 1)[-1] if column.startswith("category") else candidates[0].label
    )
    cells = {column: name, f"{column} probability": f"{candidates[0].probability:.3f}"}
    return cells if sure is None else {**cells, f"{column} sure": "yes" if sure else "no"}


def _download(columns: Sequence[str], rows: Sequence[Row], say: Language) -> str:
    """The file stands in the link itself, so that none lies on the server."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(map(defused, columns))
    writer.writerows([defused(row.get(column, "")) for column in columns] for row in rows)
    data = base64.b64encode(file.getvalue().encode("utf-8-sig")).decode()
    file_link = f'download="predictions.csv" href="data:text/csv;base64,{data}"'
    return f'<a class="button" {file_link}>{say("Download as CSV")}</a>'


def _table(columns: Sequence[str], rows: Sequence[Row], say: Language) -> str:
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(f"<tr>{_cells(columns, row)}</tr>" for row in rows)
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{say("Predictions")}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(columns: Sequence[str], row: Row) -> str:
    return "".join(f"<td>{text(row.get(column, ''))}</td>" for column in columns)
