"""The home-goods set with wrong records: what a catalog looks like that nobody has checked."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from trainer.data.home import split_of

WRONG = "wrong.json"
TITLES, PICTURES = ("title", "titles"), ("images",)


def write_noisy(data: Path, out: Path, share: float, seed: int) -> None:
    """The set in ``data`` once more in ``out``, where training products show another design's titles, or its pictures.

    A ``share`` of them each, no product both; ``wrong.json`` has their ids under ``titles`` and ``pictures``.
    Development and test products, photos and queries stay as they are. Pictures are those of ``data``.
    """
    catalog = pl.read_parquet(data / "catalog.parquet").with_columns(_absolute(data, pl.col("images")))
    rows = catalog.to_dicts()
    own = [place for place, row in enumerate(rows) if split_of(row["group_id"], row["split"]) == "train"]
    rng = random.Random(seed)  # noqa: S311
    rng.shuffle(own)
    count = round(share * len(own))
    chosen = {"titles": own[:count], "pictures": own[count : 2 * count]}
    for name, fields in (("titles", TITLES), ("pictures", PICTURES)):
        _exchange(rows, chosen[name], fields, rng)
    out.mkdir(parents=True)
    pl.DataFrame(rows, schema=catalog.schema).write_parquet(out / "catalog.parquet")
    photos = pl.read_parquet(data / "photos.parquet")
    photos.with_columns(pl.format(f"{data.absolute()}/{{}}", "path")).write_parquet(out / "photos.parquet")
    for name in ("kinds.parquet", "queries.parquet", "mixed_queries.parquet"):
        (out / name).write_bytes((data / name).read_bytes())
    wrong = {name: sorted(rows[place]["id"] for place in places) for name, places in chosen.items()}
    (out / WRONG).write_text(json.dumps(wrong, indent=2) + "\n")


def wrong_products(noisy: Path) -> set[str]:
    """Ids of all products that :func:`write_noisy` made wrong."""
    return {name for names in json.loads((noisy / WRONG).read_text()).values() for name in names}


def _absolute(data: Path, paths: pl.Expr) -> pl.Expr:
    return paths.list.eval(pl.format(f"{data.absolute()}/{{}}", pl.element()))


def _exchange(rows: list[dict[str, Any]], places: Sequence[int], fields: Sequence[str], rng: random.Random) -> None:
    """Each takes the fields, as they were, of one of the others of another design."""
    before = {place: {name: rows[place][name] for name in fields} for place in places}
    for place in places:
        others = [other for other in places if rows[other]["group_id"] != rows[place]["group_id"]]
        rows[place] |= before[rng.choice(others)]
