"""Reading one build on a Qdrant server or cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from app.encoder import Vectors
from app.schema import FacetValue, Filters, Hit, Product, product_of
from app.store.base import Candidate, Manifest
from app.store.candidates import WORDS, combine
from app.store.filters import AnyOf, Condition, conditions, facet_path
from app.store.points import check_vector, in_order, point_id
from app.store.server_client import server_errors
from app.store.words import query_words

_RESCORED = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0))
"""Where vectors are quantised, twice as many hits are found by them and scored again by the exact ones."""

_EXACT = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))


class ServerIndex:
    """One collection, by its own name: an alias that moves on does not change what is being read."""

    def __init__(self, client: QdrantClient, collection: str, manifest: Manifest) -> None:
        self._client = client
        self._collection = collection
        self._manifest = manifest

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    @server_errors()
    def search(
        self,
        vector: NDArray[np.float32],
        filters: Filters,
        limit: int,
        offset: int = 0,
        exclude_points: Sequence[str] = (),
        exact: bool = False,
    ) -> list[Hit]:
        check_vector(vector, self._manifest.dimensions, "the query")
        hits = self._client.query_points(
            self._collection,
            query=vector.tolist(),
            query_filter=self._filter(filters, exclude_points),
            limit=limit,
            offset=offset,
            search_params=_EXACT if exact else _RESCORED,
            with_payload=True,
        ).points
        return [Hit(product=product_of(hit.payload or {}), score=hit.score) for hit in hits]

    @server_errors()
    def candidates(self, vector: NDArray[np.float32], text: str, filters: Filters, depth: int) -> list[Candidate]:
        check_vector(vector, self._manifest.dimensions, "the query")
        words = query_words(text) if self._manifest.mean_words else []
        wanted, meaning = self._filter(filters), vector.tolist()
        near: dict[str, Any] = {"query": meaning, "params": _RESCORED}
        if words:
            worded: dict[str, Any] = {"query": _by_words(words), "using": WORDS}
            both = [models.Prefetch(filter=wanted, limit=depth, **side) for side in (near, worded)]
            requests = [
                *(models.QueryRequest(prefetch=both, limit=2 * depth, **side) for side in (near, worded)),
                *(
                    models.QueryRequest(query=_by_words([word]), using=WORDS, limit=1, with_vector=[WORDS])
                    for word in words
                ),
            ]
        else:
            requests = [models.QueryRequest(filter=wanted, limit=depth, **near)]
        found = [answer.points for answer in self._client.query_batch_points(self._collection, requests)]
        return combine(found, words, self._manifest.products)

    @server_errors()
    def facets(self, key: str, filters: Filters, limit: int = 100) -> list[FacetValue]:
        path = facet_path(key, self._manifest)
        hits = self._client.facet(
            self._collection, path, facet_filter=self._filter(filters), limit=limit, exact=True
        ).hits
        return [FacetValue(value=str(hit.value), count=hit.count) for hit in hits]

    @server_errors()
    def count(self, filters: Filters) -> int:
        return self._client.count(self._collection, count_filter=self._filter(filters), exact=True).count

    @server_errors()
    def get(self, ids: Sequence[str]) -> list[Product]:
        points = [point_id(i) for i in ids]
        return in_order(ids, points, self._at(points))

    @server_errors()
    def at(self, points: Sequence[str]) -> list[Product]:
        found = self._at(points)
        return [found[point] for point in points]

    @server_errors()
    def vectors(self, ids: Sequence[str]) -> Vectors:
        points = [point_id(i) for i in ids]
        records = self._client.retrieve(self._collection, points, with_payload=False, with_vectors=[""])
        rows: list[Any] = in_order(ids, points, {str(record.id): _dense(record.vector) for record in records})
        return np.asarray(rows, dtype=np.float32).reshape(len(ids), self._manifest.dimensions)

    def close(self) -> None:
        """Nothing to release: the collection lives on the server, the client belongs to the store."""

    def _at(self, points: Sequence[str]) -> dict[str, Product]:
        records = self._client.retrieve(self._collection, [*points], with_payload=True)
        return {str(record.id): product_of(record.payload or {}) for record in records}

    def _filter(self, filters: Filters, exclude_points: Sequence[str] = ()) -> models.Filter:
        excluded = models.HasIdCondition(has_id=[*exclude_points])
        wanted = [_condition(condition) for condition in conditions(filters, self._manifest)]
        return models.Filter(must=[*wanted], must_not=[excluded] if exclude_points else None)


def _by_words(words: list[int]) -> models.SparseVector:
    return models.SparseVector(indices=words, values=[1.0] * len(words))


def _dense(vector: Any) -> Any:
    """The default vector, which stands by itself where it is the only one."""
    return vector[""] if isinstance(vector, dict) else vector


def _condition(condition: Condition) -> models.FieldCondition:
    if isinstance(condition, AnyOf):
        return models.FieldCondition(key=condition.path, match=models.MatchAny(any=condition.values))
    limits = models.Range(gte=condition.minimum, lte=condition.maximum)
    return models.FieldCondition(key=condition.path, range=limits)
