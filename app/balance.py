"""How much the photo and how much the words of a mixed query say (our decision)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.errors import BadInputError
from app.schema import Query

EVEN = 0.5
"""The weight at which a query's vector is the model's joint vector of photo and text."""


NOTHING = 1e-6
"""A sum of unit vectors that is shorter than this points nowhere."""


def parts_of(query: Query, text_weight: float) -> list[tuple[Query, float]]:
    """The queries whose vectors, weighted so, make up the query's: the joint one, and photo or text alone.

    Their shares slide linearly from the photo alone (0) to the joint query (0.5) to the text alone (1).
    Raises BadInputError for a weight outside of 0 to 1, or another than 0.5 for a query without photo or text.
    """
    if not 0 <= text_weight <= 1:
        raise BadInputError(f"the text's weight is {text_weight}; it must be from 0 (photo alone) to 1 (text alone)")
    if text_weight != EVEN and (query.image is None or not query.text):
        raise BadInputError("weights are for a photo and a text together; add what is missing or leave them out")
    alone = replace(query, text="") if text_weight < EVEN else replace(query, image=None, box=None)
    joint = 1 - abs(2 * text_weight - 1)
    return [(part, share) for part, share in ((query, joint), (alone, 1 - joint)) if share > 0]


def weight_of_words(text_weight: float) -> float:
    """What common words count: nothing for the photo alone, all of it from the joint query on."""
    return min(1.0, 2 * text_weight)


def mean_direction(vectors: NDArray[np.float32], shares: list[float]) -> NDArray[np.float32]:
    """The weighted sum of ``vectors`` (items, dimensions), as a vector of length 1 and shape (dimensions,).

    Raises BadInputError if they cancel each other out.
    """
    total = np.asarray(shares, dtype=np.float32) @ vectors
    length = np.linalg.norm(total)
    if length < NOTHING:
        raise BadInputError("what is wanted and what is not cancel each other out; leave one of them out")
    return total / length
