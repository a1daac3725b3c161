"""The most rejected samples of a run, with their pictures, as a part of its report."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl
from PIL.Image import Image

from app.errors import BadInputError
from trainer.training.suspects import FILE

SHOWN, PASSES = 10, 10
"""Records of a pass, and passes, that are shown: the first, which tells most, and the last ones."""
SIDE = 96
"""Pixels of the longer side of a picture."""
LETTERS = 200
ROLES = ("positive", "negative")


def suspects_section(
    passes: Sequence[Mapping[str, Any]], table: pl.DataFrame, read: Callable[[str], Image]
) -> Iterator[str]:
    """Lines of HTML. ``passes`` and ``table`` are those of :mod:`trainer.training.suspects`; all text is escaped.

    ``read`` reads pictures by location and raises BadInputError for those that cannot be read, which the page says.
    """
    yield "<h2>Most rejected samples</h2>"
    yield (
        "<p>Dynamic filtering counted these least: the model hardly prefers the positive to the negative, or not at "
        "all. A record may be wrong: a wrong picture, another product, a negative that is as right. "
        f"{FILE}.parquet and {FILE}.csv hold more of them.</p>"
    )
    numbered = list(enumerate(passes, start=1))
    left_out = max(0, len(numbered) - PASSES)
    for number, found in [*numbered[:1], *numbered[1 + left_out :]]:
        if left_out and number == left_out + 2:
            yield f"<p>{left_out} passes after the first are left out here.</p>"
        yield f"<h3>Pass {number}: {found['kept']:.1%} of {found['samples']:,} samples counted in full</h3>"
        rows = table.filter(pl.col("pass") == number).head(SHOWN)
        if not len(rows):
            yield "<p>No record was rejected on average.</p>"
            continue
        header = "".join(f"<th>{name}</th>" for name in ("mean phi", "samples", "query", "positive", "negative"))
        body = "".join(_row(row, read) for row in rows.iter_rows(named=True))
        yield f'<div class="wide"><table><tr>{header}</tr>{body}</table></div>'


def _row(row: Mapping[str, Any], read: Callable[[str], Image]) -> str:
    cells = [
        f'<td class="number">{row["phi"]:.2f}</td><td class="number">{row["samples"]}</td>',
        _cell(row["query_image"], row["query"], f"record {row['record']}", read),
        *(_cell(row[f"{role}_image"], row[f"{role}_title"], row[f"{role}_id"], read) for role in ROLES),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(location: str, text: str, name: str, read: Callable[[str], Image]) -> str:
    words = text if len(text) <= LETTERS else f"{text[:LETTERS]} …"
    parts = [_picture(location, read), escape(words), f"<small>{escape(name)}</small>"]
    return f"<td>{'<br>'.join(filter(None, parts))}</td>"


def _picture(location: str, read: Callable[[str], Image]) -> str:
    if not location:
        return ""
    try:
        image = read(location).copy()
    except BadInputError:
        return "<em>picture cannot be read</em>"
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/webp;base64,{data}">'
