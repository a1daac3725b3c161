"""Reading one build in Qdrant Edge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import (
    CountRequest,
    EdgeShard,
    FacetRequest,
    FieldCondition,
    Filter,
    HasIdCondition,
    MatchAny,
    Prefetch,
    Query,
    QueryBatchRequest,
    QueryRequest,
    RangeFloat,
    SearchParams,
    SparseVector,
)

from app.encoder import Vectors
from app.schema import FacetValue, Filters, Hit, Product, product_of
from app.store.base import Candidate, Manifest
from app.store.candidates import WORDS, combine
from app.store.filters import AnyOf, Condition, conditions, facet_path
from app.store.points import check_vector, in_order, point_id
from app.store.words import query_words


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
        exclude_points: Sequence[str] = (),
        exact: bool = False,
    ) -> list[Hit]:
        check_vector(vector, self._manifest.dimensions, "the query")
        request = QueryRequest(
            query=Query.Nearest(vector.tolist()),
            filter=self._filter(filters, exclude_points),
            limit=limit,
            offset=offset,
            params=SearchParams(exact=exact),
            with_payload=True,
        )
        return [Hit(product=product_of(hit.payload or {}), score=hit.score) for hit in self._shard.query(request)]

    def candidates(self, vector: NDArray[np.float32], text: str, filters: Filters, depth: int) -> list[Candidate]:
        check_vector(vector, self._manifest.dimensions, "the query")
        words = query_words(text) if self._manifest.mean_words else []
        wanted, meaning = self._filter(filters), Query.Nearest(vector.tolist())
        if words:
            sides = [meaning, _by_words(words)]
            both = [Prefetch(query=side, filter=wanted, limit=depth) for side in sides]
            requests = [
                *(QueryRequest(query=side, prefetches=both, limit=2 * depth) for side in sides),
                *(QueryRequest(query=_by_words([word]), limit=1, with_vector=[WORDS]) for word in words),
            ]
        else:
            requests = [QueryRequest(query=meaning, filter=wanted, limit=depth)]
        return combine(self._shard.query_batch(QueryBatchRequest(requests)), words, self._manifest.products)

    def facets(self, key: str, filters: Filters, limit: int = 100) -> list[FacetValue]:
        request = FacetRequest(
            key=facet_path(key, self._manifest), filter=self._filter(filters), limit=limit, exact=True
        )
        return [FacetValue(value=str(hit.value), count=hit.count) for hit in self._shard.facet(request).hits]

    def count(self, filters: Filters) -> int:
        return self._shard.count(CountRequest(filter=self._filter(filters), exact=True))

    def get(self, ids: Sequence[str]) -> list[Product]:
        points = [point_id(i) for i in ids]
        return in_order(ids, points, self._at(points))

    def at(self, points: Sequence[str]) -> list[Product]:
        found = self._at(points)
        return [found[point] for point in points]

    def vectors(self, ids: Sequence[str]) -> Vectors:
        points = [point_id(i) for i in ids]
        records = self._shard.retrieve([*points], with_payload=False, with_vector=[""])
        rows = in_order(ids, points, {str(record.id): record.vector for record in records})
        return np.asarray(rows, dtype=np.float32).reshape(len(ids), self._manifest.dimensions)

    def close(self) -> None:
        self._shard.close()

    def _at(self, points: Sequence[str]) -> dict[str, Product]:
        records = self._shard.retrieve([*points], with_payload=True, with_vector=False)
        return {str(record.id): product_of(record.payload or {}) for record in records}

    def _filter(self, filters: Filters, exclude_points: Sequence[str] = ()) -> Filter:
        excluded = HasIdCondition(set(exclude_points))
        wanted = [_condition(condition) for condition in conditions(filters, self._manifest)]
        return Filter(must=[*wanted], must_not=[excluded] if exclude_points else None)


def _by_words(words: list[int]) -> Query:
    return Query.Nearest(SparseVector(words, [1.0] * len(words)), using=WORDS)


def _condition(condition: Condition) -> FieldCondition:
    if isinstance(condition, AnyOf):
        return FieldCondition(key=condition.path, match=MatchAny(any=condition.values))
    return FieldCondition(key=condition.path, range=RangeFloat(gte=condition.minimum, lte=condition.maximum))
