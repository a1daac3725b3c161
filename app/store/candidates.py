"""Candidates of a search by vector and words from the answers that both engines give to the same five questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from app.store.base import Candidate

WORDS = "words"
"""Name of the sparse vector; the dense one is the unnamed default."""


def combine(answers: Sequence[Sequence[Any]], words: Sequence[int], products: int) -> list[Candidate]:
    """Candidates from points of either engine, which have ``id``, ``score`` and ``vector``; no payload is read.

    ``answers`` are the products nearest to the vector, and if the query has ``words``: those best by words, scored by
    similarity as well; the nearest, scored by words; those best by words, scored so; and for each word alone the best
    product. The last tell how rare the words are, and so the highest score that the query allows. ``products`` is the
    number of products of the build.
    """
    if not words:
        return [Candidate(str(hit.id), hit.score, 0.0) for hit in answers[0]]
    near, similar, *matching = answers[:4]
    highest = sum(_rarity(word, hits, products) for word, hits in zip(words, answers[4:], strict=True))
    scores = {hit.id: hit.score for hits in matching for hit in hits}
    found = {hit.id: hit for hit in (*near, *similar)}
    return [
        Candidate(str(point), hit.score, min(1.0, scores.get(point, 0.0) / highest)) for point, hit in found.items()
    ]


def _rarity(word: int, hits: Sequence[Any], products: int) -> float:
    """A product's score by one word is the rarity of the word times its weight in the product."""
    for hit in hits:
        weights = hit.vector[WORDS]
        return hit.score / weights.values[weights.indices.index(word)]
    return math.log((products + 0.5) / 0.5 + 1)
