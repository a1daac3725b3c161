"""Builds in Qdrant Edge, the engine of the Qdrant server inside this process.

A build is a directory ``builds/<build>/`` with ``shard/`` and ``manifest.json``; it gets that name when it is complete.
The file ``builds/CURRENT`` names the published one. See docs/store.md.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import BaseFileLock, FileLock, Timeout
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    Modifier,
    PayloadSchemaType,
    SparseVector,
    UpdateOperation,
)
from qdrant_edge import Point as EdgePoint

from app.errors import BadInputError, IndexUnavailableError, NotFoundError, disk_errors
from app.schema import payload_of
from app.store.base import BuildWriter, Index, Manifest, Point
from app.store.candidates import WORDS
from app.store.edge_index import EdgeIndex
from app.store.filters import keyword_paths, number_paths
from app.store.points import (
    build_before,
    check_build_id,
    check_final,
    check_points,
    newest_first,
    parse_manifest,
    point_id,
)
from app.store.words import product_words

log = logging.getLogger(__name__)

_UNFINISHED = ".unfinished-"
_DROPPED = ".dropped-"


class EdgeStore:
    """The builds below ``folder``; one process may write at a time, any number may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @disk_errors()
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
        with ExitStack() as on_failure:
            on_failure.callback(lock.release)
            self._remove_leftovers()
            writer = EdgeWriter(self._folder, manifest, indexes, lock)
            on_failure.pop_all()
        return writer

    @disk_errors()
    def open(self, build: str) -> Index:
        manifest = self._finished(build)
        try:
            return EdgeIndex(self._folder / build / "shard", manifest)
        except Exception as error:  # the engine has no error class of its own
            raise IndexUnavailableError(
                f"build {build} cannot be opened ({error}); run `indexer rebuild CATALOG` or `indexer rollback`"
            ) from error

    @disk_errors()
    def publish(self, build: str) -> None:
        self._finished(build)
        _write_durably(self._folder / "CURRENT", build)

    @disk_errors()
    def published(self) -> str | None:
        try:
            return (self._folder / "CURRENT").read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    @disk_errors()
    def builds(self) -> list[Manifest]:
        found = {}
        for file in self._folder.glob("*/manifest.json"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                found[file.parent.name] = file.read_bytes()
        return newest_first(found)

    def rollback(self) -> str:
        build = build_before(self.published(), self.builds())
        self.publish(build)
        return build

    @disk_errors()
    def drop(self, build: str) -> None:
        """Delete a build. A process that has it open goes on reading; remains are deleted by the next create."""
        check_build_id(build)
        if build == self.published():
            raise BadInputError(f"build {build} is published; publish or roll back to another build before deleting it")
        dropped = self._folder / f"{_DROPPED}{build}"
        try:
            (self._folder / build).rename(dropped)
        except FileNotFoundError:
            raise NotFoundError(f"there is no build {build}; `indexer status` lists the builds") from None
        shutil.rmtree(dropped, ignore_errors=True)

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
        words = {WORDS: EdgeSparseVectorParams(modifier=Modifier.Idf)}
        self._shard = EdgeShard.create(str(shard), EdgeConfig(vectors=vectors, sparse_vectors=words, wal_enabled=False))
        for path, kind in indexes.items():
            self._shard.update(UpdateOperation.create_field_index(path, kind))

    def add(self, points: Sequence[Point]) -> None:
        check_points(points, self._manifest.dimensions)
        rows = [EdgePoint(point_id(p.product.id), self._vectors(p), payload_of(p.product)) for p in points]
        self._shard.update(UpdateOperation.upsert_points(rows))

    def _vectors(self, point: Point) -> dict[str, Any]:
        vectors: dict[str, Any] = {"": point.vector.tolist()}
        if words := product_words(point.product, self._manifest.mean_words):
            vectors[WORDS] = SparseVector(list(words), list(words.values()))
        return vectors

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
