from __future__ import annotations

import numpy as np
import pytest

from app.schema import Product
from trainer.evaluation.fused import FusedSearch

PRODUCTS = [Product(id=key, title=title) for key, title in (("a", "red sofa"), ("b", "oak table"), ("c", "desk lamp"))]
VECTORS = np.eye(3, 4, dtype=np.float32)


def test_words_and_vectors_decide_together():
    near = np.array([[0.6, 0.59, 0.5, 0.1]], dtype=np.float32)
    with FusedSearch(PRODUCTS, VECTORS) as search:
        assert search.rank(["desk lamp", "???"], np.repeat(near, 2, axis=0), depth=2).tolist() == [[2, 0], [0, 1]]


def test_beside_photos_words_count_less():
    near = np.array([[0.6, 0.59, 0.5, 0.1]], dtype=np.float32)
    with FusedSearch(PRODUCTS, VECTORS) as search:
        alone, beside = (search.rank(["desk lamp"], near, 1, beside_photos=photo).tolist() for photo in (False, True))
    assert (alone, beside) == ([[2]], [[0]])


def test_missing_places_are_marked():
    with FusedSearch(PRODUCTS, VECTORS) as search:
        assert search.rank(["table"], VECTORS[2:]).tolist() == [[2, 1, 0, *[-1] * 7]]


def test_ids_that_occur_twice_are_refused():
    with pytest.raises(ValueError, match="2 product ids and 3 vectors for 3 products"):
        FusedSearch([*PRODUCTS[:2], PRODUCTS[0]], VECTORS)
