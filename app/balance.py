"""How much the photo, or the product in its place, and how much the words of a mixed query say (our decision)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.errors import BadInputError
from app.schema import Query

EVEN = 0.5
"""The weight at which a query's vector is the model's joint vector of photo and text."""

WISH = 0.65
"""The words' share of the vector that stands for the joint one where only a product's stored vector is known.

Our decision: of 0.5 to 0.75 in steps of 0.05, it finds a product's other colours best for the development designs of
the demo catalog (docs/page.md says how well).
"""

BESIDE_PHOTO = 0.6
"""What the words in common with a product count beside a photo that weighs as much as they do.

Our decision (``benchmarks/mixed.py``): a photo with "in blue" means that product in blue, and all of these words are in
common with anything blue. In full, they brought the product that was meant to the top in 0.016 of such queries.
"""

NOTHING = 1e-6
"""A sum of unit vectors that is shorter than this points nowhere."""


def parts_of(query: Query, text_weight: float) -> list[tuple[Query, float]]:
    """The queries whose vectors, weighted so, make up the query's: the joint one, and photo or text alone.

    Their shares slide linearly from the photo alone (0) to the joint query (0.5) to the text alone (1).
    Raises BadInputError for a weight outside of 0 to 1, or another than 0.5 for a query without photo or text.
    """
    check_weight(text_weight)
    if text_weight != EVEN and (query.image is None or not query.text):
        raise BadInputError("weights are for a photo and a text together; add what is missing or leave them out")
    alone = replace(query, text="") if text_weight < EVEN else replace(query, image=None, box=None)
    joint = 1 - abs(2 * text_weight - 1)
    return [(part, share) for part, share in ((query, joint), (alone, 1 - joint)) if share > 0]


def check_weight(text_weight: float) -> None:
    """Raises BadInputError for a weight outside of 0 to 1."""
    if not 0 <= text_weight <= 1:
        raise BadInputError(f"the text's weight is {text_weight}; it must be from 0 (photo alone) to 1 (text alone)")


def weight_of_words(text_weight: float) -> float:
    """What common words count beside a photo, or a product in its place, see :data:`BESIDE_PHOTO`.

    Nothing for the photo alone (0), all of it for the text alone (1), and in between in a straight line on both sides
    of the joint query.
    """
    return float(np.interp(text_weight, (0.0, EVEN, 1.0), (0.0, BESIDE_PHOTO, 1.0)))


def wished(product: NDArray[np.float32], words: NDArray[np.float32], text_weight: float) -> NDArray[np.float32]:
    """The vector of a wish for a product like another, but as the words say; all of shape (dimensions,).

    It slides as that of a photo and words does, from the ``product`` (0) over their weighted mean (0.5, see
    :data:`WISH`) to the ``words`` (1). Raises BadInputError as :func:`parts_of`, and if they cancel each other out.
    """
    check_weight(text_weight)
    joint = mean_direction(np.stack([product, words]), [1 - WISH, WISH])
    share = 1 - abs(2 * text_weight - 1)
    alone = product if text_weight < EVEN else words
    return mean_direction(np.stack([joint, alone]), [share, 1 - share])


def mean_direction(vectors: NDArray[np.float32], shares: list[float]) -> NDArray[np.float32]:
    """The weighted sum of ``vectors`` (items, dimensions), as a vector of length 1 and shape (dimensions,).

    Raises BadInputError if they cancel each other out.
    """
    total = np.asarray(shares, dtype=np.float32) @ vectors
    length = np.linalg.norm(total)
    if length < NOTHING:
        raise BadInputError("what is wanted and what is not cancel each other out; leave one of them out")
    return total / length
