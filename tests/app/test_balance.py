from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from shop_samples import COLOURS

from app.balance import WISH, mean_direction, parts_of, weight_of_words, wished
from app.errors import BadInputError
from app.schema import Query

PHOTO = Image.new("RGB", (64, 48), COLOURS["red"])
BOTH = Query("sofa", PHOTO, (0, 0, 9, 9))
BY_PHOTO = Query("", PHOTO, (0, 0, 9, 9))


@pytest.mark.parametrize(
    ("weight", "parts"),
    [
        (0, [(BY_PHOTO, 1)]),
        (0.25, [(BOTH, 0.5), (BY_PHOTO, 0.5)]),
        (0.5, [(BOTH, 1)]),
        (0.75, [(BOTH, 0.5), (Query("sofa"), 0.5)]),
        (1, [(Query("sofa"), 1)]),
    ],
)
def test_a_query_slides_from_its_photo_over_both_to_its_text(weight, parts):
    assert parts_of(BOTH, weight) == parts


def test_words_beside_a_photo_count_more_the_more_the_text_weighs():
    assert [weight_of_words(weight) for weight in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx([0, 0.3, 0.6, 0.8, 1])


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_out_of_range_is_refused(weight):
    with pytest.raises(BadInputError, match="from 0"):
        parts_of(BOTH, weight)


@pytest.mark.parametrize("query", [Query("sofa"), BY_PHOTO])
def test_a_query_without_photo_or_text_has_nothing_to_weigh(query):
    assert parts_of(query, 0.5) == [(query, 1)]
    with pytest.raises(BadInputError, match="photo and a text together"):
        parts_of(query, 0.4)


def test_the_mean_direction_has_length_one():
    vectors = np.eye(2, dtype=np.float32)
    np.testing.assert_allclose(mean_direction(vectors, [0.5, 0.5]), [0.5**0.5, 0.5**0.5], rtol=1e-6)


def test_vectors_that_cancel_each_other_out_are_refused():
    vectors = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    with pytest.raises(BadInputError, match="cancel"):
        mean_direction(vectors, [0.5, -0.5])


def test_a_wish_slides_from_the_product_over_both_to_the_words():
    product, words = np.eye(2, dtype=np.float32)
    both = mean_direction(np.stack([product, words]), [1 - WISH, WISH])
    for weight, wanted in ((0, product), (0.5, both), (1, words)):
        np.testing.assert_allclose(wished(product, words, weight), wanted, rtol=1e-6)
    towards_words = [float(wished(product, words, weight) @ words) for weight in (0, 0.25, 0.5, 0.75, 1)]
    assert towards_words == sorted(set(towards_words))


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_wish_with_a_weight_out_of_range_is_refused(weight):
    with pytest.raises(BadInputError, match="from 0"):
        wished(*np.eye(2, dtype=np.float32), weight)
