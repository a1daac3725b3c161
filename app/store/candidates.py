"""Candidates of a search by vector and words from the answers that both engines give to the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from app.store.base import Candidate

WORDS = "words"
"""Name of the sparse vector; the dense one is the unnamed default."""


def combine(answers: Sequence[Sequence[Any]], words: Sequence[int], products: int) -> list[Candidate]:
    """Candidates from points of either engine, which have ``id``, ``score`` and ``vector``; no payload is read.

    ``answers`` are the candidates by similarity, and if the query has ``words``: the candidates by the score of their
    words, and for each word alone the best product of all. The last tell how rare the words are, and so the highest
    score that the query allows. ``products`` is the number of products of the build.
    """
    if not words:
        return [Candidate(str(hit.id), hit.score, 0.0) for hit in answers[0]]
    similar, matching, *best = answers
    highest = sum(_rarity(word, hits, products) for word, hits in zip(words, best, strict=True))
    shares = {hit.id: min(1.0, hit.score / highest) for hit in matching}
    return [Candidate(str(point := hit.id), hit.score, shares.get(point, 0.0)) for hit in similar]


def _rarity(word: int, hits: Sequence[Any], products: int) -> float:
    """A product's score by one word is the rarity of the word times its weight in the product."""
    for hit in hits:
        weights = hit.vector[WORDS]
        return hit.score / weights.values[weights.indices.index(word)]
    return math.log((products + 0.5) / 0.5 + 1)
