"""From known vectors to a published build: load, verify against exact search, publish, drop what is too old."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from app.errors import IndexUnavailableError
from app.matryoshka import shortened
from app.schema import Filters, Product
from app.store.base import BuildWriter, Index, Point, Store
from indexer.changes import Changes
from indexer.entries import Entries
from indexer.vectors import VectorArchive

LOAD_ROWS = 256
SAMPLE = 100
NEIGHBOURS = 10
MIN_RECALL = 0.97


@dataclass
class Sample:
    """Products chosen at random that the verification compares with what the build holds."""

    ids: frozenset[str]
    points: dict[str, Point] = field(default_factory=dict)


def load(
    entries: Entries,
    archive: VectorArchive,
    dimensions: int,
    writer: BuildWriter,
    advance: Callable[[int], None],
    changes: Changes | None = None,
) -> Sample:
    """Write every product, or ``changes`` into a copy, with the first ``dimensions`` numbers of its vector.

    Returns a sample for :func:`verify`: products chosen from all, which tell whether a copy was a good one, and from
    those that are written, which tell whether the changes reached it.
    """
    if changes is not None and changes.removed:
        writer.remove(changes.removed)
    everything = np.arange(len(entries))
    changed = everything if changes is None else changes.changed
    sampled = np.union1d(_some(everything), _some(changed))
    sample = Sample(frozenset(entries.only(sampled).ids()))
    present = frozenset(entries.only(np.setdiff1d(sampled, changed)).ids())
    for points in _points(entries.only(np.union1d(sampled, changed)), archive, dimensions):
        sample.points |= {p.product.id: p for p in points if p.product.id in sample.ids}
        if new := [p for p in points if p.product.id not in present]:
            writer.add(new)
            advance(len(new))
    return sample


def verify(index: Index, count: int, sample: Sample) -> float:
    """The sample's recall among the first ten neighbours, against exact search.

    Raises IndexUnavailableError if the build does not hold ``count`` products, holds other vectors than it was given,
    or finds less than 97 % of the true neighbours.
    """
    build = index.manifest.build
    found = index.count(Filters())
    if found != count:
        raise _failed(build, f"it holds {found} products instead of {count}")
    ids = sorted(sample.points)
    given = np.stack([sample.points[product_id].vector for product_id in ids])
    if not np.allclose(index.vectors(ids), given, atol=1e-3):
        raise _failed(build, "it holds other vectors than it was given")
    if list(map(_texts, index.get(ids))) != [_texts(sample.points[product_id].product) for product_id in ids]:
        raise _failed(build, "it holds other texts than it was given")
    recall = float(np.mean([_recall(index, vector) for vector in given]))
    if recall < MIN_RECALL:
        raise _failed(build, f"its search finds only {recall:.0%} of the true neighbours (at least {MIN_RECALL:.0%})")
    return recall


def drop_old_builds(store: Store, keep: int, trials: int) -> list[str]:
    """Drop all but the published build and the newest others, ``keep`` in all, and the newest ``trials`` on trial.

    Builds on trial do not count among the others, so that neither crowds out the other (our decision). Returns what was
    dropped.
    """
    published = store.published()
    others = [manifest for manifest in store.builds() if manifest.build != published]
    finished = [manifest.build for manifest in others if not manifest.on_trial]
    on_trial = [manifest.build for manifest in others if manifest.on_trial]
    dropped = finished[keep - 1 if published else keep :] + on_trial[trials:]
    for build in dropped:
        store.drop(build)
    return dropped


def _points(entries: Entries, archive: VectorArchive, dimensions: int) -> Iterator[list[Point]]:
    products = entries.with_vectors(archive.batches())
    while points := [Point(product, shortened(vector, dimensions)) for product, vector in islice(products, LOAD_ROWS)]:
        yield points


def _some(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most ``SAMPLE`` of them, the same ones for the same number of products."""
    return np.random.default_rng(0).choice(places, min(SAMPLE, len(places)), replace=False)


def _texts(product: Product) -> Product:
    """A product without its numbers, which may come back changed in their last bit."""
    return product.model_copy(update={"numbers": {}})


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
