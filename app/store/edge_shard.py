"""A shard of Qdrant Edge while it is written: made empty or as a copy, filled, given its graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    Modifier,
    PayloadSchemaType,
    SparseVector,
    UpdateOperation,
)
from qdrant_edge import Point as EdgePoint

from app.errors import IndexUnavailableError
from app.schema import payload_of
from app.store.base import Manifest, Point
from app.store.candidates import WORDS
from app.store.files import copy_folder
from app.store.filters import keyword_paths, number_paths
from app.store.points import point_id
from app.store.words import product_words

GROWING = 100_000
"""Points after which a new part begins (our decision): memory holds words and payload indexes of the one that grows."""
CHANGES = 8
"""So many further parts may a build have, each with a graph of its own, before the engine merges the smallest (our
decision). By default it has hardly more parts than cores, so a few changes in a copy would cost the graph of all
products anew."""


def empty_shard(folder: Path, manifest: Manifest) -> EdgeShard:
    """A new shard with the payload indexes of the build."""
    indexes = dict.fromkeys(keyword_paths(manifest), PayloadSchemaType.Keyword)
    indexes |= dict.fromkeys(number_paths(manifest), PayloadSchemaType.Float)
    folder.mkdir(parents=True)
    created = EdgeShard.create(str(folder), _config(manifest))
    for path, kind in indexes.items():
        created.update(UpdateOperation.create_field_index(path, kind))
    return created


def copied_shard(folder: Path, manifest: Manifest, base: Path) -> EdgeShard:
    """A copy of the shard of the build in the folder ``base``. Raises IndexUnavailableError if it cannot be opened."""
    copy_folder(base / "shard", folder)
    try:
        return EdgeShard.load(str(folder), _config(manifest))
    except Exception as error:  # the engine has no error class of its own
        raise IndexUnavailableError(
            f"build {base.name} cannot be opened ({error}); run `indexer rebuild CATALOG` or `indexer rollback`"
        ) from error


def upsert(shard: EdgeShard, points: Sequence[Point], mean_words: float) -> None:
    rows = [EdgePoint(point_id(p.product.id), _vectors(p, mean_words), payload_of(p.product)) for p in points]
    shard.update(UpdateOperation.upsert_points(rows))


def optimize(shard: EdgeShard) -> None:
    """Give what was written its graph; every thread of this process stalls meanwhile."""
    shard.flush()
    shard.optimize()
    shard.flush()


def settle(folder: Path) -> int:
    """Open and close a closed shard: its first opening folds journals in, and readers shall find files at rest.

    Returns how many points it holds.
    """
    shard = EdgeShard.load(str(folder))
    points = shard.count(CountRequest(exact=True))
    shard.close()
    return points


def _vectors(point: Point, mean_words: float) -> dict[str, Any]:
    vectors: dict[str, Any] = {"": point.vector.tolist()}
    if words := product_words(point.product, mean_words):
        vectors[WORDS] = SparseVector(list(words), list(words.values()))
    return vectors


def _config(manifest: Manifest) -> EdgeConfig:
    return EdgeConfig(
        vectors=EdgeVectorParams(size=manifest.dimensions, distance=Distance.Cosine),
        sparse_vectors={WORDS: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        optimizers=EdgeOptimizersConfig(default_segment_number=CHANGES + manifest.products // GROWING),
        wal_enabled=False,
    )
