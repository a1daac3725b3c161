"""Writing one build in Qdrant Edge."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import BaseFileLock
from qdrant_edge import (
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
from app.store.files import copy_folder, sync_folder, write_durably
from app.store.filters import keyword_paths, number_paths
from app.store.points import check_final, check_points, point_id
from app.store.words import product_words

GROWING = 100_000
"""Points after which a new part begins (our decision): memory holds words and payload indexes of the one that grows."""
CHANGES = 8
"""So many further parts may a build have, each with a graph of its own, before the engine merges the smallest (our
decision). By default it has hardly more parts than cores, so a few changes in a copy would cost the graph of all
products anew."""


class EdgeWriter:
    """Loads ``.unfinished-<build>/`` and renames it to ``<build>/`` when it is complete and on disk.

    The shard has no write-ahead log: a killed build is thrown away as a whole, and only the log would stop several
    processes from reading one build. Without the log a copy of a closed shard is a shard like any other.
    """

    def __init__(
        self, unfinished: Path, final: Path, manifest: Manifest, lock: BaseFileLock, base: Path | None
    ) -> None:
        """``base`` is the folder of the build that is copied, None for an empty one."""
        self._manifest = manifest
        self._lock = lock
        self._final = final
        self._folder = unfinished
        self._growing = 0
        shard = unfinished / "shard"
        self._shard = _empty_shard(shard, manifest) if base is None else _copied_shard(shard, manifest, base)

    def add(self, points: Sequence[Point]) -> None:
        """Stalls every thread of this process once in ``GROWING`` points, while a part gets its graph."""
        check_points(points, self._manifest.dimensions)
        rows = [EdgePoint(point_id(p.product.id), self._vectors(p), payload_of(p.product)) for p in points]
        self._shard.update(UpdateOperation.upsert_points(rows))
        self._growing += len(rows)
        if self._growing >= GROWING:
            self._optimize()

    def remove(self, ids: Sequence[str]) -> None:
        self._shard.update(UpdateOperation.delete_points([point_id(i) for i in ids]))

    def _vectors(self, point: Point) -> dict[str, Any]:
        vectors: dict[str, Any] = {"": point.vector.tolist()}
        if words := product_words(point.product, self._manifest.mean_words):
            vectors[WORDS] = SparseVector(list(words), list(words.values()))
        return vectors

    def finish(self, manifest: Manifest) -> None:
        """Stalls every thread of this process while the HNSW index is built."""
        check_final(self._manifest, manifest)
        self._optimize()
        self._shard.close()
        # The first load of a shard folds its journals in; done here, readers find files that nobody changes any more.
        EdgeShard.load(str(self._folder / "shard")).close()
        write_durably(self._folder / "manifest.json", manifest.model_dump_json(indent=2))
        self._folder.rename(self._final)
        sync_folder(self._final.parent)

    def _optimize(self) -> None:
        self._shard.flush()
        self._shard.optimize()
        self._shard.flush()
        self._growing = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder.exists():
            self._shard.close()
            shutil.rmtree(self._folder)
        self._lock.release()


def _empty_shard(shard: Path, manifest: Manifest) -> EdgeShard:
    indexes = dict.fromkeys(keyword_paths(manifest), PayloadSchemaType.Keyword)
    indexes |= dict.fromkeys(number_paths(manifest), PayloadSchemaType.Float)
    shard.mkdir(parents=True)
    created = EdgeShard.create(str(shard), _config(manifest))
    for path, kind in indexes.items():
        created.update(UpdateOperation.create_field_index(path, kind))
    return created


def _copied_shard(shard: Path, manifest: Manifest, base: Path) -> EdgeShard:
    copy_folder(base / "shard", shard)
    try:
        return EdgeShard.load(str(shard), _config(manifest))
    except Exception as error:  # the engine has no error class of its own
        raise IndexUnavailableError(
            f"build {base.name} cannot be opened ({error}); run `indexer rebuild CATALOG` or `indexer rollback`"
        ) from error


def _config(manifest: Manifest) -> EdgeConfig:
    return EdgeConfig(
        vectors=EdgeVectorParams(size=manifest.dimensions, distance=Distance.Cosine),
        sparse_vectors={WORDS: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        optimizers=EdgeOptimizersConfig(default_segment_number=CHANGES + manifest.products // GROWING),
        wal_enabled=False,
    )
