from __future__ import annotations

import numpy as np
import pytest

from app.schema import Product
from trainer.evaluation.asked import SHOWN_HITS, Asked, answer, foreign_scores

PRODUCTS = [
    Product(id="a", title="red sofa", category=["Furniture", "Sofas"]),
    Product(id="b", title="blue sofa", category=["Furniture", "Sofas"]),
    Product(id="c", title="desk lamp", category=["Lighting", "Lamps"]),
]
VECTORS = np.eye(3, 4, dtype=np.float32)
TEXT = Asked("text", ["red sofa"], np.array([[0.9, 0.3, 0.1, 0.3]], dtype=np.float32), [{0}])
PHOTO = Asked("photo", ["", ""], np.array([[0, 0, 0.8, 0.6], [0.5, 0.1, 0.5, 0]], dtype=np.float32), [{2}, {0, 2}])


def test_hits_are_right_or_of_a_right_ones_kind():
    text, photo = answer(PRODUCTS, VECTORS, [TEXT, PHOTO])
    assert text.scores.shape == (1, SHOWN_HITS)
    assert text.right[0, :3].tolist() == [True, False, False]
    assert text.related[0, :3].tolist() == [True, True, False]
    assert photo.scores[0, 0] == pytest.approx(0.8)
    assert (photo.scores[:, 3:] == -1).all()


def test_words_beside_photos_count_less_than_words_alone():
    asked = [Asked(kind, TEXT.texts, TEXT.vectors, TEXT.right) for kind in ("text", "both")]
    alone, beside = answer(PRODUCTS, VECTORS, asked)
    assert alone.scores[0, 0] > beside.scores[0, 0] > VECTORS[0] @ TEXT.vectors[0]
    tops = [Asked(kind, ["sofa lamp"], TEXT.vectors, [{0}]) for kind in ("text", "both")]
    alone, beside = foreign_scores(PRODUCTS, VECTORS, tops)
    assert alone[0] > beside[0]


def test_foreign_queries_are_asked_of_a_catalog_without_their_category():
    text, photo = foreign_scores(PRODUCTS, VECTORS, [TEXT, PHOTO])
    assert text == pytest.approx([0.1], abs=1e-5)
    assert photo == pytest.approx([0.0], abs=1e-5)  # the second is answered by two categories
