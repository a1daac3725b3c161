"""Builds on a Qdrant server or cluster.

A build is a collection ``<index>-<build>`` with its manifest in the collection's metadata; the alias ``<index>`` points
at the published one. See docs/store.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from app.errors import BadInputError, IndexUnavailableError, NotFoundError
from app.schema import payload_of
from app.store.base import BuildWriter, Index, Manifest, Point
from app.store.candidates import WORDS
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
from app.store.server_index import ServerIndex, server_errors
from app.store.words import product_words

log = logging.getLogger(__name__)

_MAX_BATCH_BYTES = 4_000_000
_HNSW_EDGES = 16
_ABANDONED_AFTER = timedelta(days=7)


class ServerStore:
    """The builds of ``index`` on the server that ``client`` talks to; any number of machines may read."""

    copies = False

    def __init__(self, client: QdrantClient, index: str) -> None:
        self._client = client
        self._index = index

    @server_errors()
    def create(self, manifest: Manifest, base: str | None = None) -> BuildWriter:
        """Start a new build. Raises ValueError for a ``base``: a server has no request that copies a collection."""
        if base is not None:
            raise ValueError(f"build {manifest.build} cannot start as a copy of {base} on a Qdrant server")
        check_build_id(manifest.build)
        indexes = dict.fromkeys(keyword_paths(manifest), models.PayloadSchemaType.KEYWORD)
        indexes |= dict.fromkeys(number_paths(manifest), models.PayloadSchemaType.FLOAT)
        names = self._collections()
        if self._index in names:
            raise BadInputError(
                f"the Qdrant server has a collection named {self._index!r}, so no alias can have that name; "
                "set MOON_COLLECTION to another name or rename the collection"
            )
        if self._collection(manifest.build) in names:
            raise BadInputError(f"build {manifest.build} exists already; give the new build another id")
        self._remove_leftovers(names)
        return ServerWriter(self._client, self._collection(manifest.build), manifest, indexes)

    @server_errors()
    def open(self, build: str) -> Index:
        return ServerIndex(self._client, self._collection(build), self._finished(build))

    @server_errors()
    def publish(self, build: str) -> None:
        self._finished(build)
        actions: list[models.AliasOperations] = []
        if self.published() is not None:
            actions.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._index)))
        target = models.CreateAlias(collection_name=self._collection(build), alias_name=self._index)
        actions.append(models.CreateAliasOperation(create_alias=target))
        self._client.update_collection_aliases(actions)

    @server_errors()
    def published(self) -> str | None:
        for alias in self._client.get_aliases().aliases:
            if alias.alias_name == self._index:
                return alias.collection_name.removeprefix(self._collection(""))
        return None

    @server_errors()
    def builds(self) -> list[Manifest]:
        found = {}
        for name in self._own(self._collections()):
            text = self._metadata(name).get("manifest")
            if text is not None:
                found[name.removeprefix(self._collection(""))] = text
        return newest_first(found)

    def disk_bytes(self, build: str) -> int | None:
        return None

    def rollback(self) -> str:
        build = build_before(self.published(), self.builds())
        self.publish(build)
        return build

    @server_errors()
    def drop(self, build: str) -> None:
        check_build_id(build)
        if build == self.published():
            raise BadInputError(f"build {build} is published; publish or roll back to another build before deleting it")
        if self._collection(build) not in self._collections():
            raise NotFoundError(f"there is no build {build}; `indexer status` lists the builds")
        self._client.delete_collection(self._collection(build))

    def _collection(self, build: str) -> str:
        return f"{self._index}-{build}"

    def _collections(self) -> list[str]:
        return [collection.name for collection in self._client.get_collections().collections]

    def _own(self, collections: Sequence[str]) -> list[str]:
        return [name for name in collections if name.startswith(self._collection(""))]

    def _metadata(self, collection: str) -> dict[str, Any]:
        return self._client.get_collection(collection).config.metadata or {}

    def _finished(self, build: str) -> Manifest:
        check_build_id(build)
        collection = self._collection(build)
        text = self._metadata(collection).get("manifest") if collection in self._collections() else None
        if text is None:
            raise IndexUnavailableError(
                f"the Qdrant server has no finished build {build} of {self._index}; run `indexer rebuild CATALOG`"
            )
        return parse_manifest(text, build)

    def _remove_leftovers(self, collections: Sequence[str]) -> None:
        """What writers that were killed long ago left behind; a younger one may still be loading on another machine."""
        for name in self._own(collections):
            metadata = self._metadata(name)
            started = None if "manifest" in metadata else metadata.get("started")
            if started is not None and datetime.now(UTC) - datetime.fromisoformat(started) > _ABANDONED_AFTER:
                log.info("removing the unfinished collection %s, started %s", name, started)
                self._client.delete_collection(name)


class ServerWriter:
    """Loads a collection without building its HNSW graph, then has it built once."""

    def __init__(
        self, client: QdrantClient, collection: str, manifest: Manifest, indexes: dict[str, models.PayloadSchemaType]
    ) -> None:
        self._client = client
        self._collection = collection
        self._manifest = manifest
        self._finished = False
        client.create_collection(
            collection,
            vectors_config=models.VectorParams(size=manifest.dimensions, distance=models.Distance.COSINE),
            sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            hnsw_config=models.HnswConfigDiff(m=0),
            metadata={"started": datetime.now(UTC).isoformat()},
        )
        for path, kind in indexes.items():
            client.create_payload_index(collection, path, field_schema=kind, wait=True)

    @server_errors()
    def add(self, points: Sequence[Point]) -> None:
        check_points(points, self._manifest.dimensions)
        for rows in _batches(map(self._row, points)):
            self._client.upload_points(self._collection, rows, batch_size=len(rows), max_retries=3, wait=True)

    @server_errors()
    def remove(self, ids: Sequence[str]) -> None:
        self._client.delete(self._collection, [point_id(i) for i in ids], wait=True)

    def _row(self, point: Point) -> models.PointStruct:
        vectors: dict[str, Any] = {"": point.vector.tolist()}
        if words := product_words(point.product, self._manifest.mean_words):
            vectors[WORDS] = models.SparseVector(indices=list(words), values=list(words.values()))
        return models.PointStruct(id=point_id(point.product.id), vector=vectors, payload=payload_of(point.product))

    @server_errors()
    def finish(self, manifest: Manifest) -> None:
        check_final(self._manifest, manifest)
        self._client.update_collection(self._collection, hnsw_config=models.HnswConfigDiff(m=_HNSW_EDGES))
        self._wait_until_green()
        self._client.update_collection(self._collection, metadata={"manifest": manifest.model_dump_json()})
        self._finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        try:
            self._client.delete_collection(self._collection)
        except ApiException as failure:
            log.warning(
                "could not delete the unfinished collection %s, delete it by hand: %s", self._collection, failure
            )

    def _wait_until_green(self) -> None:
        """A server that was restarted while it indexed shows grey and goes on only after the next update."""
        while (info := self._client.get_collection(self._collection)).status != models.CollectionStatus.GREEN:
            if info.status == models.CollectionStatus.RED:
                raise IndexUnavailableError(
                    f"the Qdrant server could not index {self._collection} ({info.optimizer_status}); see its log, "
                    "then run `indexer rebuild CATALOG` again"
                )
            if info.status == models.CollectionStatus.GREY:
                self._client.update_collection(self._collection, optimizers_config=models.OptimizersConfigDiff())
            time.sleep(0.5)


def _batches(rows: Iterable[models.PointStruct]) -> Iterator[list[models.PointStruct]]:
    """Cut ``rows`` so that the JSON of a batch stays well below 5 MB."""
    batch: list[models.PointStruct] = []
    size = 0
    for row in rows:
        needed = len(row.model_dump_json())
        if batch and size + needed > _MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += needed
    if batch:
        yield batch
