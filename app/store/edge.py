"""Builds in Qdrant Edge, the engine of the Qdrant server inside this process.

A build is a directory ``builds/<build>/`` with ``shard/`` and ``manifest.json``; it gets that name when it is complete.
The file ``builds/CURRENT`` names the published one. See docs/store.md.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from numpy.typing import NDArray
from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeVectorParams,
    FacetRequest,
    FieldCondition,
    Filter,
    HasIdCondition,
    MatchAny,
    PayloadSchemaType,
    Query,
    QueryRequest,
    RangeFloat,
    SearchParams,
    UpdateOperation,
)
from qdrant_edge import Point as EdgePoint

from app.encoder import Vectors
from app.errors import BadInputError, IndexUnavailableError, NotFoundError
from app.schema import FacetValue, Filters, Hit, Product, payload_of, product_of
from app.store.base import BuildWriter, Index, Manifest, Point
from app.store.filters import AnyOf, Condition, conditions, facet_path, keyword_paths, number_paths
from app.store.points import (
    build_before,
    check_build_id,
    check_final,
    check_points,
    check_vector,
    in_order,
    newest_first,
    parse_manifest,
    point_id,
)

log = logging.getLogger(__name__)

_UNFINISHED = ".unfinished-"
_DROPPED = ".dropped-"


class EdgeStore:
    """The builds below ``folder``; one process may write at a time, any number may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, manifest: Manifest) -> BuildWriter:
        """Start a new build. Raises IndexUnavailableError while another process builds in the same folder."""
        check_build_id(manifest.build)
        if (self._folder / manifest.build).exists():
            raise BadInputError(f"build {manifest.build} exists already; give the new build another id")
        indexes = dict.fromkeys(keyword_paths(manifest), PayloadSchemaType.Keyword)
        indexes |= dict.fromkeys(number_paths(manifest), PayloadSchemaType.Float)
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / ".lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise IndexUnavailableError(
                f"another rebuild is writing to {self._folder}; wait until it ends, or set MOON_DATA to another folder"
            ) from None
        self._remove_leftovers()
        return EdgeWriter(self._folder, manifest, indexes, lock)

    def open(self, build: str) -> Index:
        return EdgeIndex(self._folder / build / "shard", self._finished(build))

    def publish(self, build: str) -> None:
        self._finished(build)
        _write_durably(self._folder / "CURRENT", build)

    def published(self) -> str | None:
        try:
            return (self._folder / "CURRENT").read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def builds(self) -> list[Manifest]:
        files = [file for file in self._folder.glob("*/manifest.json") if not file.parent.name.startswith(".")]
        return newest_first({file.parent.name: file.read_bytes() for file in files})

    def rollback(self) -> str:
        build = build_before(self.published(), self.builds())
        self.publish(build)
        return build

    def drop(self, build: str) -> None:
        """Delete a build. A process that has it open can go on reading until it closes it."""
        check_build_id(build)
        if build == self.published():
            raise BadInputError(f"build {build} is published; publish or roll back to another build before deleting it")
        dropped = self._folder / f"{_DROPPED}{build}"
        try:
            (self._folder / build).rename(dropped)
        except FileNotFoundError:
            raise NotFoundError(f"there is no build {build}; `indexer status` lists the builds") from None
        shutil.rmtree(dropped)

    def _finished(self, build: str) -> Manifest:
        check_build_id(build)
        try:
            text = (self._folder / build / "manifest.json").read_bytes()
        except FileNotFoundError:
            raise IndexUnavailableError(
                f"there is no finished build {build} in {self._folder}; run `indexer rebuild CATALOG`"
            ) from None
        return parse_manifest(text, build)

    def _remove_leftovers(self) -> None:
        """What killed writers and deletions left behind; the writer's lock makes sure that nobody uses it."""
        for prefix in (_UNFINISHED, _DROPPED):
            for leftover in self._folder.glob(f"{prefix}*"):
                log.info("removing the unfinished build %s", leftover.name.removeprefix(prefix))
                shutil.rmtree(leftover)


class EdgeWriter:
    """Loads ``.unfinished-<build>/`` and renames it to ``<build>/`` when it is complete and on disk.

    The shard has no write-ahead log: a killed build is thrown away as a whole, and only the log would stop several
    processes from reading one build.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, indexes: dict[str, PayloadSchemaType], lock: BaseFileLock
    ) -> None:
        self._manifest = manifest
        self._lock = lock
        self._final = folder / manifest.build
        self._folder = folder / f"{_UNFINISHED}{manifest.build}"
        shard = self._folder / "shard"
        shard.mkdir(parents=True)
        vectors = EdgeVectorParams(size=manifest.dimensions, distance=Distance.Cosine)
        self._shard = EdgeShard.create(str(shard), EdgeConfig(vectors=vectors, wal_enabled=False))
        for path, kind in indexes.items():
            self._shard.update(UpdateOperation.create_field_index(path, kind))

    def add(self, points: Sequence[Point]) -> None:
        check_points(points, self._manifest.dimensions)
        rows = [EdgePoint(point_id(p.product.id), p.vector.tolist(), payload_of(p.product)) for p in points]
        self._shard.update(UpdateOperation.upsert_points(rows))

    def finish(self, manifest: Manifest) -> None:
        """Stalls every thread of this process while the HNSW index is built."""
        check_final(self._manifest, manifest)
        self._shard.flush()
        self._shard.optimize()
        self._shard.flush()
        self._shard.close()
        # The first load of a shard folds its journals in; done here, readers find files that nobody changes any more.
        EdgeShard.load(str(self._folder / "shard")).close()
        _write_durably(self._folder / "manifest.json", manifest.model_dump_json(indent=2))
        self._folder.rename(self._final)
        _sync_folder(self._final.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder.exists():
            self._shard.close()
            shutil.rmtree(self._folder)
        self._lock.release()


class EdgeIndex:
    """One shard, opened for reading."""

    def __init__(self, shard: Path, manifest: Manifest) -> None:
        self._manifest = manifest
        self._shard = EdgeShard.load(str(shard))

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    def search(
        self,
        vector: NDArray[np.float32],
        filters: Filters,
        limit: int,
        offset: int = 0,
        exclude_ids: Sequence[str] = (),
        exact: bool = False,
    ) -> list[Hit]:
        check_vector(vector, self._manifest.dimensions, "the query")
        request = QueryRequest(
            query=Query.Nearest(vector.tolist()),
            filter=self._filter(filters, exclude_ids),
            limit=limit,
            offset=offset,
            params=SearchParams(exact=exact),
            with_payload=True,
        )
        return [Hit(product=product_of(hit.payload or {}), score=hit.score) for hit in self._shard.query(request)]

    def facets(self, key: str, filters: Filters, limit: int = 100) -> list[FacetValue]:
        request = FacetRequest(
            key=facet_path(key, self._manifest), filter=self._filter(filters), limit=limit, exact=True
        )
        return [FacetValue(value=str(hit.value), count=hit.count) for hit in self._shard.facet(request).hits]

    def count(self, filters: Filters) -> int:
        return self._shard.count(CountRequest(filter=self._filter(filters), exact=True))

    def get(self, ids: Sequence[str]) -> list[Product]:
        records = self._shard.retrieve([point_id(i) for i in ids], with_payload=True, with_vector=False)
        return in_order(ids, {str(record.id): product_of(record.payload or {}) for record in records})

    def vectors(self, ids: Sequence[str]) -> Vectors:
        records = self._shard.retrieve([point_id(i) for i in ids], with_payload=False, with_vector=True)
        rows = in_order(ids, {str(record.id): record.vector for record in records})
        return np.asarray(rows, dtype=np.float32).reshape(len(ids), self._manifest.dimensions)

    def close(self) -> None:
        self._shard.close()

    def _filter(self, filters: Filters, exclude_ids: Sequence[str] = ()) -> Filter:
        excluded = HasIdCondition({point_id(i) for i in exclude_ids})
        wanted = [_condition(condition) for condition in conditions(filters, self._manifest)]
        return Filter(must=[*wanted], must_not=[excluded] if exclude_ids else None)


def _condition(condition: Condition) -> FieldCondition:
    if isinstance(condition, AnyOf):
        return FieldCondition(key=condition.path, match=MatchAny(any=condition.values))
    return FieldCondition(key=condition.path, range=RangeFloat(gte=condition.minimum, lte=condition.maximum))


def _write_durably(file: Path, text: str) -> None:
    """Replace ``file`` atomically; after a power loss it holds either the old or the new text."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
