"""From known vectors to a published build: load, verify against exact search, publish, drop what is too old."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from app.errors import IndexUnavailableError
from app.schema import Filters
from app.store.base import BuildWriter, Index, Point, Store
from indexer.entries import Entries
from indexer.vectors import VectorArchive

LOAD_ROWS = 256
SAMPLE = 50
NEIGHBOURS = 10
MIN_RECALL = 0.95


@dataclass
class Sample:
    """Products chosen at random whose vectors the verification compares."""

    ids: frozenset[str]
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def load(entries: Entries, archive: VectorArchive, writer: BuildWriter, advance: Callable[[int], None]) -> Sample:
    """Write every product with its vector, part by part, and return a sample for :func:`verify`."""
    sample = Sample(entries.sample(SAMPLE))
    for points in _points(entries, archive):
        sample.vectors |= {p.product.id: p.vector for p in points if p.product.id in sample.ids}
        writer.add(points)
        advance(len(points))
    return sample


def verify(index: Index, count: int, sample: Sample) -> float:
    """The sample's recall among the first ten neighbours, against exact search.

    Raises IndexUnavailableError if the build does not hold ``count`` products, holds other vectors than it was given,
    or finds less than 95 % of the true neighbours.
    """
    build = index.manifest.build
    found = index.count(Filters())
    if found != count:
        raise _failed(build, f"it holds {found} products instead of {count}")
    ids = sorted(sample.vectors)
    given = np.stack([sample.vectors[product_id] for product_id in ids])
    if not np.allclose(index.vectors(ids), given, atol=1e-3):
        raise _failed(build, "it holds other vectors than it was given")
    recall = float(np.mean([_recall(index, vector) for vector in given]))
    if recall < MIN_RECALL:
        raise _failed(build, f"its search finds only {recall:.0%} of the true neighbours (at least {MIN_RECALL:.0%})")
    return recall


def drop_old_builds(store: Store, keep: int) -> list[str]:
    """Drop all but the published build and the newest others, ``keep`` in all; returns what was dropped."""
    published = store.published()
    others = [manifest.build for manifest in store.builds() if manifest.build != published]
    dropped = others[keep - 1 if published else keep :]
    for build in dropped:
        store.drop(build)
    return dropped


def _points(entries: Entries, archive: VectorArchive) -> Iterator[list[Point]]:
    products = entries.with_vectors(archive.batches())
    while points := [Point(product, vector) for product, vector in islice(products, LOAD_ROWS)]:
        yield points


def _recall(index: Index, vector: NDArray[np.float32]) -> float:
    """By score, so that products with equal vectors may take each other's place."""
    exact = index.search(vector, Filters(), NEIGHBOURS, exact=True)
    threshold = exact[-1].score - 1e-5
    near = [hit for hit in index.search(vector, Filters(), NEIGHBOURS) if hit.score >= threshold]
    return len(near) / len(exact)


def _failed(build: str, reason: str) -> IndexUnavailableError:
    return IndexUnavailableError(
        f"build {build} failed its verification: {reason}; it was dropped and the published one stays. "
        "Run `indexer rebuild` again, and report this if it happens twice."
    )
