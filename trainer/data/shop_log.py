"""A shop's interaction log, row by row: who asked what, and what they did with which product.

Rows are checked one by one and written to a Parquet file with the columns of ``LOG_SCHEMA``, which Polars then sums up.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.catalog import fields
from app.catalog.problems import Problem, Report
from app.catalog.tables import BrokenRow, read_rows
from app.errors import CatalogError
from trainer.data.columns import Columns
from trainer.data.keys import key

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "text": ("query", "query_text", "query_title", "search_query", "search_term", "search", "keywords", "text"),
    "image": ("query_image", "query_img", "query_pic", "query_photo", "image", "photo"),
    "product": ("product_id", "product", "item_id", "item", "sku", "doc_id", "id"),
    "event": ("event", "event_type", "event_name", "action", "interaction", "type"),
    "time": ("time", "timestamp", "event_time", "datetime", "date", "created_at", "ts"),
}
EVENTS: Mapping[str, float] = {"purchase": 1.0, "add_to_cart": 0.5, "click": 0.2}
"""What an event says about how well a product answers a query, relative to a purchase (our decision)."""

LOG_SCHEMA = pa.schema(
    [
        ("part", pa.int8()),
        ("query", pa.string()),
        ("text", pa.string()),
        ("image", pa.string()),
        ("product", pa.string()),
        ("weight", pa.float32()),
        ("time", pa.float64()),
    ]
)
PARTS = 16
"""Queries fall into so many parts, which are summed up one after the other to save memory."""
BATCH_ROWS = 20_000
EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp()
HASH_RANGE = 1_000_000
_MILLISECONDS = 1e11
_SPACES = re.compile(r"\s+")


def clean_log(
    log: Path, out: Path, knows: Callable[[str], bool], report: Report, events: Mapping[str, float] = EVENTS
) -> None:
    """Write the rows of ``log`` that can be used to the Parquet file ``out``; the others go to the report.

    ``knows`` tells whether the catalog has a product. Queries that differ in case and spaces only share ``query``.
    Without a column of events every row weighs 1; without one of times ``time`` is a hash of the query.

    Raises CatalogError if the log cannot be read, lacks a needed column, or has no usable row.
    """
    with pq.ParquetWriter(out, LOG_SCHEMA, compression="zstd") as writer:
        rows = 0
        for batch in _batches(_LogReader(log, knows, report, events).rows()):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=LOG_SCHEMA))
            rows += len(batch)
    if not rows:
        first = "; ".join(report.summary(1)[:4])
        raise CatalogError(f"{log}: no row of the log can be used ({first or 'it is empty'}); correct the log")


def normalised(query: str) -> str:
    """Queries that differ in case, width of letters and spaces only are one (our decision).

    >>> normalised(" Red  CHAIR ")
    'red chair'
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", query).casefold()).strip()


def seconds(cell: Any) -> float:
    """Seconds since 1970 of a date, an ISO 8601 text or a Unix time in seconds, milli-, micro- or nanoseconds.

    A time without a zone is taken as UTC. Raises ValueError if it is none of these, or before 1990 or after 2100.

    >>> seconds("2024-05-01T12:00:00Z") == seconds(1714564800000) == seconds("1714564800")
    True
    """
    found = _seconds(cell)
    while abs(found) >= _MILLISECONDS:
        found /= 1000
    if not EARLIEST <= found < LATEST:
        raise ValueError(f"{cell!r} is not between 1990 and 2100")
    return found


def _seconds(cell: Any) -> float:
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp()
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day, tzinfo=UTC).timestamp()
    if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell):
        return float(cell)
    words = fields.text(cell)
    if words.replace(".", "", 1).isdigit() and len(words) != len("20240501"):
        return float(words)
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise ValueError(f"{words[:40]!r} is no time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class _LogReader:
    def __init__(self, log: Path, knows: Callable[[str], bool], report: Report, events: Mapping[str, float]) -> None:
        self._log, self._knows, self._report = log, knows, report
        self._events = {_event_name(name): weight for name, weight in events.items()}

    def rows(self) -> Iterator[dict[str, Any]]:
        columns = Columns(COLUMNS)
        found = columns.peek(self._log, read_rows(self._log))
        columns.need(self._log, "product", "product id")
        columns.need(self._log, "text image", "query")
        for number, cells in enumerate(found, start=1):
            if isinstance(cells, BrokenRow):
                self._leave_out(number, "", "row", str(cells), "correct or remove the row")
            elif row := self._row(number, columns.named(cells), columns.has("event"), columns.has("time")):
                yield row

    def _row(self, number: int, cells: Mapping[str, Any], events: bool, times: bool) -> dict[str, Any] | None:
        product = ""
        try:
            field, remedy = "product", "add the product to the catalog, or correct its id in the log"
            product = fields.text(cells.get("product"))
            if not self._knows(product):
                raise ValueError(f"product {product!r} is not in the catalog" if product else "no product id")
            field, remedy = "query", "log what the shopper typed, or the photo"
            text = fields.text(cells.get("text"))
            images = fields.pictures(cells.get("image"), self._log.parent)
            if not text and not images:
                raise ValueError("the query is empty")
            field, remedy = "event", f"name the event one of {', '.join(self._events)}, or give it a weight"
            weight = self._weight(cells.get("event")) if events else 1.0
            field, remedy = "time", "write times as ISO 8601, or as seconds since 1970"
            query = f"{normalised(text)}\0{images[0] if images else ''}"
            hashed = key("query", query)
            time = seconds(cells.get("time")) if times else float(hashed // PARTS % HASH_RANGE)
        except ValueError as error:
            self._leave_out(number, product, field, str(error), remedy)
            return None
        if not weight:
            return None
        image = images[0] if images else ""
        return {
            **{"part": hashed % PARTS, "query": query, "text": text, "image": image},
            **{"product": product, "weight": weight, "time": time},
        }

    def _weight(self, cell: Any) -> float:
        name = fields.text(cell)
        try:
            return self._events[_event_name(name)]
        except KeyError:
            raise ValueError(f"the event {name[:40]!r} is not known") from None

    def _leave_out(self, number: int, product: str, field: str, reason: str, remedy: str) -> None:
        self._report.add([Problem("reject", product, number, field, reason, remedy)])


def _event_name(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
