"""Search by meaning and by words at once: MOON's similarity fused with BM25 (our decision, docs/experiments.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.ranking import Matches
from app.schema import Filters, Hit
from app.store.base import Candidate, Index

DEPTH = 100
"""Candidates from each side; the products behind them follow by similarity alone."""


def fused(similarity: float, share: float) -> float:
    """A cosine similarity, raised towards 1 by the share of the query's words that a product has.

    The words close part of the distance to 1: nothing without a common word, all of it at a share of 1. In between the
    part follows an S-curve, the smoothstep of the share's square: a colour in common does not outweigh what a product
    is, while most of a name does. The result stays between -1 and 1.

    >>> fused(0.4, 0.0), round(fused(0.4, 0.3), 3), round(fused(0.4, 0.8), 3)
    (0.4, 0.414, 0.823)
    """
    words = share**4 * (3 - 2 * share**2)
    return 1 - (1 - similarity) * (1 - words)


def best_first(candidates: list[Candidate], words: float = 1.0) -> list[tuple[str, float]]:
    """Points with their fused scores; equal scores go by similarity, then by point. ``words`` weighs the shares."""
    scored = [(fused(c.similarity, words * c.share), c.similarity, c.point) for c in candidates]
    ordered = sorted(scored, key=lambda item: (-item[0], -item[1], item[2]))
    return [(point, score) for score, _, point in ordered]


def fused_matches(
    index: Index,
    vector: NDArray[np.float32],
    text: str,
    filters: Filters,
    words: float = 1.0,
    exclude_points: Sequence[str] = (),
) -> Matches:
    """The products nearest to ``vector`` (dimensions,) and to the words of ``text``, scored by :func:`fused`.

    ``words``, from 0 to 1, is what the words weigh; products at ``exclude_points`` are left out. Pages continue each
    other: first come all candidates of both sides, then the other products by similarity.
    """
    candidates = index.candidates(vector, text, filters, DEPTH)
    ranked = best_first([one for one in candidates if one.point not in exclude_points], words)
    skipped = [*exclude_points, *(point for point, _ in ranked)]

    def matches(limit: int, offset: int) -> list[Hit]:
        page = ranked[offset : offset + limit]
        products = index.at([point for point, _ in page])
        hits = [Hit(product=product, score=score) for product, (_, score) in zip(products, page, strict=True)]
        missing = limit - len(hits)
        if missing and len(candidates) >= DEPTH:
            hits += index.search(vector, filters, missing, max(0, offset - len(ranked)), exclude_points=skipped)
        return hits

    return matches
