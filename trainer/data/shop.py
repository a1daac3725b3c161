"""A shop's catalog and interaction log as items and records.

One record per query and product, weighted by the sum of its events. Split by time (our decision): the newest tenth of
the time span is ``test``, the tenth before it ``dev``. The same query may come in several splits, as shoppers ask
tomorrow what they asked yesterday; a query with the same product counts only in the split where it came first, so that
later ones do not measure memory. Where the log has no times, a hash of the query takes their place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl

from app.catalog.problems import Problem, Report
from app.catalog.products import stream_catalog
from app.schema import Product
from trainer.data.corpus import CorpusWriter
from trainer.data.record import SPLITS, Item, Picture, Record
from trainer.data.shop_log import EVENTS, PARTS, clean_log

ALSO_RIGHT = 16
"""Other products bought for the same query that a record names, the heaviest ones."""
HELD_OUT = 0.1
"""Share of the time span that each of dev and test gets."""
TRAIN, DEV, TEST = range(len(SPLITS))


def write_shop(
    catalog: Path, log: Path, writer: CorpusWriter, report: Report, events: Mapping[str, float] = EVENTS
) -> None:
    """Add a shop's products and what its log says about them to a corpus; ``events`` has a weight for each event.

    Raises CatalogError if one of the files cannot be read or has no usable row.
    """
    unused: set[str] = set()
    rows = stream_catalog(catalog, report, tell=lambda file, columns: unused.update(columns.unused))
    writer.add_catalog(item_of(row.product) for row in rows)
    report.add(_unused_columns(unused))
    with tempfile.TemporaryDirectory(dir=writer.folder) as folder:
        clean = Path(folder) / "log.parquet"
        clean_log(log, clean, writer.knows, report, events)
        for record in records_of(clean):
            writer.add(record)


def item_of(product: Product) -> Item:
    """A product of a catalog as an item."""
    return Item(
        product.id,
        product.title,
        tuple(Picture(location) for location in product.images),
        tuple(product.category),
        {key: tuple(values) for key, values in product.attributes.items()},
        product.group_id or "",
    )


def _unused_columns(unused: set[str]) -> list[Problem]:
    """A warning that names the columns, since products without pictures may just have them under another name."""
    remedy = "rename those that products need: id, title, images, category, group_id, attributes.<name>"
    reason = f"not used: {', '.join(sorted(unused))}"
    return [Problem("warning", "", 0, "columns", reason, remedy)] if unused else []


def records_of(log: Path) -> Iterator[Record]:
    """The records of a log in the form of :data:`~trainer.data.shop_log.LOG_SCHEMA`, those of one query in a row."""
    events = pl.scan_parquet(log, glob=False)
    oldest, newest = events.select(pl.min("time").alias("oldest"), pl.max("time").alias("newest")).collect().row(0)
    tenth, time = (newest - oldest) * HELD_OUT, pl.col("time")
    split = pl.when(time > newest - tenth).then(TEST).when(time > newest - 2 * tenth).then(DEV).otherwise(TRAIN)
    pairs = (
        events.with_columns(split.cast(pl.Int8).alias("split"))
        .group_by("part", "query", "product", "split")
        .agg(pl.min("text", "image"), pl.sum("weight"))
        .sort("query", "weight", "product", descending=[False, True, False])
    )
    for part in range(PARTS):
        rows = pairs.filter(pl.col("part") == part).collect().iter_rows(named=True)
        for _, same_query in groupby(rows, key=itemgetter("query")):
            yield from _of_query(list(same_query))


def _of_query(rows: list[dict[str, Any]]) -> Iterator[Record]:
    """``rows`` are the pairs of one query, the heaviest first."""
    first: dict[str, int] = {}
    for row in rows:
        first[row["product"]] = min(row["split"], first.get(row["product"], TEST))
    rows = [row for row in rows if first[row["product"]] == row["split"]]
    heaviest = [[row["product"] for row in rows if row["split"] <= split][: ALSO_RIGHT + 1] for split in range(3)]
    for row in rows:
        others = [product for product in heaviest[row["split"]] if product != row["product"]]
        yield Record(
            row["product"],
            row["text"],
            Picture(row["image"]) if row["image"] else None,
            also_right=tuple(others[:ALSO_RIGHT]),
            weight=row["weight"],
            split=SPLITS[row["split"]],
        )
