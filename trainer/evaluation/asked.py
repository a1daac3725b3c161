"""Searches with known right answers, as the shop answers them: by the whole catalog, and with their category gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.calibration import Evidence
from app.encoder import Vectors
from app.schema import Product
from trainer.evaluation.fused import FusedSearch

SHOWN_HITS = 24
"""Hits that are judged per query: the first page of the shop."""
RELATED_LEVEL = 2
"""Products with the same category at this level are related (our decision)."""


@dataclass(frozen=True)
class Asked:
    """Queries of one kind, their vectors (queries, dimensions), and the rows of the products that answer each.

    ``texts`` are empty for a photo alone.
    """

    kind: Evidence
    texts: Sequence[str]
    vectors: Vectors
    right: Sequence[Collection[int]]


@dataclass(frozen=True)
class Answers:
    """Scores of the first hits (queries, SHOWN_HITS), which of them are right, and which are of a right one's kind."""

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    related: NDArray[np.bool_]


def answer(products: Sequence[Product], vectors: Vectors, asked: Sequence[Asked]) -> list[Answers]:
    """The answers of the whole gallery; ``products`` and ``vectors`` (products, dimensions) are its rows.

    A query that finds fewer hits than there are columns has scores of -1, neither right nor related.
    """
    rows = {product.id: row for row, product in enumerate(products)}
    kinds = [tuple(product.category[:RELATED_LEVEL]) for product in products]
    with FusedSearch(products, vectors) as search:
        return [_judged(search, one, rows, kinds) for one in asked]


def _judged(search: FusedSearch, asked: Asked, rows: dict[str, int], kinds: Sequence[tuple[str, ...]]) -> Answers:
    shape = (len(asked.texts), SHOWN_HITS)
    scores, right, related = np.full(shape, -1.0), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for query, (text, vector, wanted) in enumerate(zip(asked.texts, asked.vectors, asked.right, strict=True)):
        wanted_kinds = {kinds[row] for row in wanted}
        for place, hit in enumerate(search.hits(text, vector, SHOWN_HITS, beside_photo=asked.kind == "both")):
            row = rows[hit.product.id]
            scores[query, place] = hit.score
            right[query, place] = row in wanted
            related[query, place] = kinds[row] in wanted_kinds
    return Answers(scores, right, related)


def foreign_scores(products: Sequence[Product], vectors: Vectors, asked: Sequence[Asked]) -> list[NDArray[np.float64]]:
    """Per kind the best scores (foreign queries,) of queries whose top category is taken out of the catalog.

    So the catalog holds nothing like them, though the model knows their words. Queries that products of several top
    categories answer are left out.
    """
    tops = [product.category[0] if product.category else "" for product in products]
    homes = [[{tops[row] for row in wanted} for wanted in one.right] for one in asked]
    found: list[list[float]] = [[] for _ in asked]
    for top in sorted(set(tops)):
        kept = [row for row, own in enumerate(tops) if own != top]
        if not kept:
            continue
        with FusedSearch([products[row] for row in kept], vectors[kept]) as search:
            for one, own, scores in zip(asked, homes, found, strict=True):
                for query, home in enumerate(own):
                    if home == {top}:
                        hits = search.hits(one.texts[query], one.vectors[query], 1, beside_photo=one.kind == "both")
                        scores.append(hits[0].score)
    return [np.array(scores) for scores in found]
