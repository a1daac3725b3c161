"""Samples that dynamic filtering rejected most, as a list of records for whoever keeps the catalog (our decision)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from app.spreadsheet import defused
from trainer.data.corpus import Corpus
from trainer.data.record import Item
from trainer.losses.filtering import THRESHOLD

LISTED = 100
"""Records of one pass over the data that are listed."""
FILE = "suspects"
SCHEMA: dict[str, Any] = {
    "pass": pl.Int64,
    "record": pl.Int64,
    "phi": pl.Float64,
    "samples": pl.Int64,
    "query": pl.String,
    "query_image": pl.String,
    **{f"{role}_{part}": pl.String for role in ("positive", "negative") for part in ("id", "title", "image")},
}


def rejected(samples: Tensor) -> dict[str, Any]:
    """What a pass over the data rejected: ``samples``, the share ``kept`` in full, and ``rejected`` records.

    From record, negative and phi of each sample (samples, 3). Of records whose mean phi lies below the threshold those
    with the lowest come first, each with its number of samples and the negative of its worst one.
    """
    rows = pl.DataFrame(samples.numpy(), schema=["record", "negative", "phi"], orient="row")
    rows = rows.with_columns(pl.col("record", "negative").cast(pl.Int64)).sort("phi")
    records = rows.group_by("record").agg(pl.first("negative"), pl.mean("phi"), pl.len().alias("samples"))
    worst = records.filter(pl.col("phi") < THRESHOLD).sort("phi", "record").head(LISTED)
    return {
        "samples": len(rows),
        "kept": (rows["phi"] >= THRESHOLD).mean(),
        "rejected": worst.with_columns(pl.col("phi").round(5)).to_dicts(),
    }


def passes(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What :func:`rejected` found, pass by pass, from the events of a run."""
    return [entry["filtering"] for entry in history if "filtering" in entry]


def suspects(history: Sequence[Mapping[str, Any]], corpus: Corpus) -> pl.DataFrame:
    """A row per rejected record and pass, counted from 1, the most rejected first: see ``SCHEMA``.

    Pictures are named by their locations, an item by its first one; what there is none of is empty. So is the negative
    where the sample was compared with another product of its batch, which is not kept.
    """
    rows = []
    for number, found in enumerate(passes(history), start=1):
        for entry in found["rejected"]:
            record = corpus.record(entry["record"])
            row = {
                "pass": number,
                **{name: entry[name] for name in ("record", "phi", "samples")},
                "query": record.text,
                "query_image": record.picture.location if record.picture else "",
            }
            negative = corpus.item(entry["negative"]) if entry["negative"] >= 0 else None
            rows.append(row | _named("positive", corpus.item(record.positive)) | _named("negative", negative))
    return pl.DataFrame(rows, schema=SCHEMA)


def _named(role: str, item: Item | None) -> dict[str, str]:
    picture = item.pictures[0].location if item and item.pictures else ""
    return {
        f"{role}_id": item.id if item else "",
        f"{role}_title": item.title if item else "",
        f"{role}_image": picture,
    }


def write_suspects(table: pl.DataFrame, out: Path) -> None:
    """As ``out/suspects.parquet``, and as CSV for spreadsheets, where no cell is a formula."""
    table.write_parquet(out / f"{FILE}.parquet")
    safe = pl.col(pl.String).map_elements(defused, return_dtype=pl.String)
    table.with_columns(safe).write_csv(out / f"{FILE}.csv")
