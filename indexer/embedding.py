"""Embed what is new: batches for the encoder, vectors into the archive, a reject for every product it cannot embed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import tee

import numpy as np

from app.catalog.problems import Problem, Report
from app.encoder import CatalogEmbedder
from app.settings import Settings
from indexer.clock import Clock
from indexer.encoding import BatchEncoder, Failure
from indexer.entries import Entries
from indexer.pictures import AHEAD, Prepared, prepare_ahead
from indexer.spool import Spool
from indexer.vectors import VectorArchive

MAX_PICTURES = AHEAD // 2
"""A batch ends with so many pictures, so that those of the next one are decoded meanwhile."""


@dataclass
class Batch:
    """New products with their places; those of equal content are embedded once. ``largest``: tokens of the largest."""

    rows: list[tuple[int, Prepared]] = field(default_factory=list)
    items: dict[str, Prepared] = field(default_factory=dict)
    largest: int = 0
    pictures: int = 0

    def add(self, place: int, item: Prepared, tokens: int) -> None:
        self.rows.append((place, item))
        if item.content not in self.items:
            self.items[item.content] = item
            self.largest = max(self.largest, tokens)
            self.pictures += len(item.images)

    def has_room(self, item: Prepared, tokens: int, max_tokens: int) -> bool:
        """Whether the batch stays within its limits with ``item``; one product alone always does."""
        padded = (len(self.items) + 1) * max(self.largest, tokens)
        return not self.items or (padded <= max_tokens and self.pictures + len(item.images) <= MAX_PICTURES)


def embed_catalog(
    rows: Spool,
    archive: VectorArchive,
    load_embedder: Callable[[], CatalogEmbedder],
    settings: Settings,
    report: Report,
    advance: Callable[[int], None],
    clock: Clock,
) -> Entries:
    """The products whose vectors are in ``archive`` afterwards; new ones are embedded, each batch becomes a part.

    The largest products come first: neighbours of like size waste no padding, and too little memory shows at once.
    ``load_embedder`` is called when the first unknown product turns up, ``advance`` with the number of products done,
    and ``clock`` is told what was waited for: ``decode``, ``encode``, ``write``.
    """
    entries = Entries(rows)
    encoder: BatchEncoder | None = None
    batch = Batch()

    def finish(batch: Batch, encoder: BatchEncoder) -> None:
        failed = _embed(batch, encoder, archive, clock)
        for place, item in batch.rows:
            if item.content in failed:
                report.add([_reject(item, failed[item.content])])
            else:
                entries.add(place, item.content)
        advance(len(batch.rows))

    order, places = tee(rows.largest_first())
    prepared = prepare_ahead(map(rows.__getitem__, order), archive, settings)
    for place, item in clock.waiting("decode", zip(places, prepared, strict=True)):
        clock.beside += item.seconds
        report.add(item.problems)
        if item.content in archive:
            entries.add(place, item.content)
            advance(1)
        elif item.is_empty:
            report.add([item.reject])
            advance(1)
        else:
            if encoder is None:
                with clock.stage("model"):
                    encoder = BatchEncoder(load_embedder())
            tokens = encoder.tokens(item)
            if not batch.has_room(item, tokens, encoder.max_tokens):
                finish(batch, encoder)
                batch = Batch()
            batch.add(place, item, tokens)
    if encoder is not None:
        finish(batch, encoder)
    return entries


def _embed(batch: Batch, encoder: BatchEncoder, archive: VectorArchive, clock: Clock) -> dict[str, Failure]:
    """Embed a batch into the archive. Returns why products have no vector, by content hash."""
    with clock.stage("encode"):
        encoded = encoder.encode(list(batch.items.values()))
    with clock.stage("write"):
        if encoded.items:
            contents = [item.content for item in encoded.items]
            archive.append(contents, np.stack(encoded.vectors), [item.broken for item in encoded.items])
    return encoded.failed


def _reject(item: Prepared, failure: Failure) -> Problem:
    product = item.row.product
    return Problem("reject", product.id, item.row.number, "vector", failure.reason, failure.remedy, item.row.file)
