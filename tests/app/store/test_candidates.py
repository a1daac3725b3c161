"""Both engines find the same candidates by vector and by words, with the same scores."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from store_samples import DIMENSIONS, load, make_points

from app.schema import Filters, Product
from app.store.base import Candidate, Index, Point, Store
from app.store.points import point_id
from app.store.words import product_words, query_words

VECTORS = np.stack([point.vector for point in make_points(4)])
PRODUCTS = [
    Product(id="chair", title="red arm chair", titles={"fr": "fauteuil rouge", "zh_CN": "扶手椅"}),
    Product(id="sofa", title="red sofa", category=["Furniture"]),
    Product(id="lamp", title="blue lamp", attributes={"color": ["blue"]}),
    Product(id="photo", images=["a.jpg"]),
]
IDS = {point_id(product.id): product.id for product in PRODUCTS}
MEAN_WORDS = 2.5


@pytest.fixture(scope="module")
def worded(module_store: Store) -> Iterator[Index]:
    """A build of ``PRODUCTS``, opened once per engine."""
    points = [Point(product, vector) for product, vector in zip(PRODUCTS, VECTORS, strict=True)]
    load(module_store, "b1", points, mean_words=MEAN_WORDS, attribute_keys=["color"])
    index = module_store.open("b1")
    yield index
    index.close()


def found(index: Index, text: str, depth: int = 4, filters: Filters | None = None) -> dict[str, Candidate]:
    candidates = index.candidates(VECTORS[3], text, filters or Filters(), depth)
    assert len({candidate.point for candidate in candidates}) == len(candidates)
    return {IDS[candidate.point]: candidate for candidate in candidates}


def shares(index: Index, text: str) -> dict[str, float]:
    return {key: candidate.share for key, candidate in found(index, text).items() if candidate.share}


def rarity(found_in: int, texts: int) -> float:
    return math.log((texts - found_in + 0.5) / (found_in + 0.5) + 1)


def test_the_share_is_bm25_over_the_highest_score_of_the_query(worded: Index):
    weights = product_words(PRODUCTS[0], MEAN_WORDS)
    red, chair = (weights[number] for number in query_words("red chair"))
    highest = rarity(2, 3) + rarity(1, 3) + rarity(0, 4)
    expected = (rarity(2, 3) * red + rarity(1, 3) * chair) / highest
    assert found(worded, "red chair unknown")["chair"].share == pytest.approx(expected, abs=1e-5)


def test_similarities_are_those_of_the_vectors_however_a_candidate_was_found(worded: Index):
    for product_id, candidate in found(worded, "lamp", depth=1).items():
        row = list(IDS.values()).index(product_id)
        assert candidate.similarity == pytest.approx(float(VECTORS[row] @ VECTORS[3]), abs=1e-5)


def test_depth_counts_each_side(worded: Index):
    assert set(found(worded, "lamp", depth=1)) == {"photo", "lamp"}


def test_a_candidate_by_meaning_gets_its_share_although_others_have_more_words(worded: Index):
    candidates = worded.candidates(VECTORS[1], "red arm chair", Filters(), depth=1)
    assert {IDS[c.point] for c in candidates if c.share} == {"chair", "sofa"}


@pytest.mark.parametrize(
    ("text", "product_ids"),
    [
        ("FAUTEUIL", {"chair"}),
        ("手椅", {"chair"}),
        ("furniture", {"sofa"}),
        ("blue", {"lamp"}),
        ("red", {"chair", "sofa"}),
        ("unknown", set()),
    ],
)
def test_titles_of_all_languages_category_and_attributes_are_searched(worded: Index, text: str, product_ids: set[str]):
    assert set(shares(worded, text)) == product_ids


def test_candidates_fulfil_the_filters_and_rarity_does_not_depend_on_them(worded: Index):
    filters = Filters(attributes={"color": ["blue"]})
    assert set(found(worded, "red blue", filters=filters)) == {"lamp"}
    assert found(worded, "red blue", filters=filters)["lamp"].share == found(worded, "red blue")["lamp"].share


def test_a_text_without_words_has_candidates_by_meaning_alone(worded: Index):
    assert {c.share for c in found(worded, "?!").values()} == {0.0}
    assert len(found(worded, "?!")) == len(PRODUCTS)


def test_a_build_without_word_weights_has_candidates_by_meaning_alone(store: Store):
    load(store, "b1", make_points(5))
    index = store.open("b1")
    candidates = index.candidates(make_points(1)[0].vector, "product 0", Filters(), 3)
    assert [c.share for c in candidates] == [0.0] * 3
    index.close()


def test_a_changed_text_changes_the_words_of_its_product(store: Store):
    points = [Point(PRODUCTS[2], VECTORS[2]), Point(Product(id="lamp", title="green torch"), VECTORS[2])]
    load(store, "b1", points, mean_words=MEAN_WORDS)
    index = store.open("b1")
    assert (set(shares_of(index, "lamp")), set(shares_of(index, "torch"))) == (set(), {"lamp"})
    index.close()


def shares_of(index: Index, text: str) -> dict[str, float]:
    vector = np.ones(DIMENSIONS, dtype=np.float32)
    return {IDS[c.point]: c.share for c in index.candidates(vector, text, Filters(), 5) if c.share}
