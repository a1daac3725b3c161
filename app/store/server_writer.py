"""Writing one build on a Qdrant server or cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import grpc
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from app.errors import IndexUnavailableError
from app.schema import payload_of
from app.store.base import Manifest, Point
from app.store.candidates import WORDS
from app.store.filters import keyword_paths, number_paths
from app.store.points import check_final, check_points, point_id
from app.store.server_client import patiently, server_errors
from app.store.words import product_words

log = logging.getLogger(__name__)

_MAX_BATCH_BYTES = 4_000_000
_HNSW_EDGES = 16
LARGE_BYTES = 1_000_000_000
"""Vectors that take more than this as 32-bit numbers are kept on disk like their payload, and searched as 8-bit numbers
in memory, of which twice the hits are scored again by the exact vectors (our decision)."""


class ServerWriter:
    """Loads a collection without building its HNSW graph, then has it built once.

    Once the collection is created, requests are repeated while the server is being restarted.
    """

    def __init__(
        self, client: QdrantClient, collection: str, manifest: Manifest, shards: int | None, replicas: int | None
    ) -> None:
        """``shards`` and ``replicas``: None for what the server is configured to."""
        indexes = dict.fromkeys(keyword_paths(manifest), models.PayloadSchemaType.KEYWORD)
        indexes |= dict.fromkeys(number_paths(manifest), models.PayloadSchemaType.FLOAT)
        self._client = client
        self._collection = collection
        self._manifest = manifest
        self._is_large = manifest.products * manifest.dimensions * 4 > LARGE_BYTES
        self._finished = False
        client.create_collection(
            collection,
            vectors_config=models.VectorParams(
                size=manifest.dimensions, distance=models.Distance.COSINE, on_disk=self._is_large
            ),
            sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            on_disk_payload=self._is_large or None,
            hnsw_config=models.HnswConfigDiff(m=0),
            shard_number=shards,
            replication_factor=replicas,
            metadata={"started": datetime.now(UTC).isoformat()},
        )
        for path, kind in indexes.items():
            patiently(client.create_payload_index)(collection, path, field_schema=kind, wait=True)

    @server_errors()
    def add(self, points: Sequence[Point]) -> None:
        check_points(points, self._manifest.dimensions)
        for rows in _batches(map(self._row, points)):
            patiently(self._client.upsert)(self._collection, rows, wait=True)

    @server_errors()
    def remove(self, ids: Sequence[str]) -> None:
        patiently(self._client.delete)(self._collection, [point_id(i) for i in ids], wait=True)

    def _row(self, point: Point) -> models.PointStruct:
        vectors: dict[str, Any] = {"": point.vector.tolist()}
        if words := product_words(point.product, self._manifest.mean_words):
            vectors[WORDS] = models.SparseVector(indices=list(words), values=list(words.values()))
        return models.PointStruct(id=point_id(point.product.id), vector=vectors, payload=payload_of(point.product))

    @server_errors()
    def finish(self, manifest: Manifest) -> None:
        check_final(self._manifest, manifest)
        self._update(hnsw_config=models.HnswConfigDiff(m=_HNSW_EDGES), quantization_config=self._quantization())
        while not self._is_indexed():
            time.sleep(0.5)
        self._update(metadata={"manifest": manifest.model_dump_json()})
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
        except (ApiException, grpc.RpcError) as failure:
            log.warning(
                "could not delete the unfinished collection %s, delete it by hand: %s", self._collection, failure
            )

    @patiently
    def _update(self, **changes: Any) -> None:
        self._client.update_collection(self._collection, **changes)

    @patiently
    def _is_indexed(self) -> bool:
        """A server that was restarted while it indexed shows grey and goes on only after the next update."""
        info = self._client.get_collection(self._collection)
        if info.status == models.CollectionStatus.RED:
            raise IndexUnavailableError(
                f"the Qdrant server could not index {self._collection} ({info.optimizer_status}); see its log, "
                "then run `indexer rebuild CATALOG` again"
            )
        if info.status == models.CollectionStatus.GREY:
            self._client.update_collection(self._collection, optimizers_config=models.OptimizersConfigDiff())
        return info.status == models.CollectionStatus.GREEN

    def _quantization(self) -> models.ScalarQuantization | None:
        if not self._is_large:
            return None
        eight_bits = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        return models.ScalarQuantization(scalar=eight_bits)


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
