"""Embed what is new: batches for the encoder, vectors into the archive, a reject for every product it cannot embed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import tee

import numpy as np

from app.catalog.problems import Problem, Report
from app.encoder import CatalogEmbedder
from app.settings import Settings
from indexer.clock import Clock
from indexer.encoding import BatchEncoder, Failure
from indexer.entries import Entries
from indexer.pictures import AHEAD, Preparation, Prepared, prepare_ahead, remembered_hashes
from indexer.progress import Advance, Track
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


class Embedding:
    """Embeds products of a catalog that are new, each batch becomes a part of the archive.

    ``load_embedder`` is called when the first unknown product turns up. ``clock`` is told what was waited for:
    ``decode``, ``model``, ``encode``, ``write`` and ``compare``.
    """

    def __init__(
        self,
        rows: Spool,
        archive: VectorArchive,
        load_embedder: Callable[[], CatalogEmbedder],
        settings: Settings,
        clock: Clock | None = None,
    ) -> None:
        self.rows, self.archive, self.settings, self.clock = rows, archive, settings, clock or Clock()
        self.load_embedder = load_embedder
        self._loaded: BatchEncoder | None = None

    def of(self, places: Iterable[int], report: Report, advance: Advance) -> Entries:
        """Those products at ``places`` in the catalog whose vectors are in the archive afterwards.

        Neighbours of like size waste no padding (see :meth:`Spool.largest_first`). ``advance`` is told how many more
        are done.
        """
        entries, batch = Entries(self.rows), Batch()
        order, places = tee(places)
        prepared = prepare_ahead(map(self.rows.__getitem__, order), self.archive, self.settings)
        for place, item in self.clock.waiting("decode", zip(places, prepared, strict=True)):
            self.clock.beside += item.seconds
            report.add(item.problems)
            if item.content in self.archive:
                with self.clock.stage("compare"):
                    entries.add(place, item.content, item.row.product)
                advance(1)
            elif item.is_empty:
                report.add([item.reject])
                advance(1)
            else:
                tokens = self._encoder.tokens(item)
                if not batch.has_room(item, tokens, self._encoder.max_tokens):
                    self._finish(batch, entries, report, advance)
                    batch = Batch()
                batch.add(place, item, tokens)
        if batch.rows:
            self._finish(batch, entries, report, advance)
        return entries

    def unknown(self) -> Iterator[int]:
        """Places of the products that may be new, the largest first: those whose vectors are not known by what is
        remembered of their pictures."""
        with remembered_hashes(self.settings) as hashes:
            preparation = Preparation(self.archive, hashes, self.settings)
            yield from (place for place in self.rows.largest_first() if not preparation.is_known(self.rows[place]))

    @property
    def _encoder(self) -> BatchEncoder:
        if self._loaded is None:
            with self.clock.stage("model"):
                self._loaded = BatchEncoder(self.load_embedder())
        return self._loaded

    def _finish(self, batch: Batch, entries: Entries, report: Report, advance: Advance) -> None:
        with self.clock.stage("encode"):
            encoded = self._encoder.encode(list(batch.items.values()))
        with self.clock.stage("write"):
            if encoded.items:
                contents = [item.content for item in encoded.items]
                self.archive.append(contents, np.stack(encoded.vectors), [item.broken for item in encoded.items])
        with self.clock.stage("compare"):
            for place, item in batch.rows:
                if failure := encoded.failed.get(item.content):
                    report.add([_reject(item, failure)])
                else:
                    entries.add(place, item.content, item.row.product)
        advance(len(batch.rows))


Spread = Callable[[Embedding, Track], None]
"""Has others embed what they can before this process does the rest."""


def alone(embedding: Embedding, track: Track) -> None:
    """Nobody helps."""


def _reject(item: Prepared, failure: Failure) -> Problem:
    product = item.row.product
    return Problem("reject", product.id, item.row.number, "vector", failure.reason, failure.remedy, item.row.file)
