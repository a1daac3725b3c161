"""Searching, filtering, counting and fetching give the same answers on every engine."""

from __future__ import annotations

import numpy as np
import pytest
from store_samples import DIMENSIONS, make_points

from app.errors import BadInputError, NotFoundError
from app.schema import Filters, Range
from app.store.base import Index
from app.store.points import point_id

POINTS = make_points()
VECTORS = np.stack([point.vector for point in POINTS])
ODD_KEY = "size [cm]. <b>é"


def query(seed: int = 1) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return vector / np.linalg.norm(vector)


def found(index: Index, filters: Filters) -> set[int]:
    hits = index.search(query(), filters, limit=len(POINTS))
    assert index.count(filters) == len(hits)
    return {int(hit.product.id.removeprefix("sku/")) for hit in hits}


def expected(condition) -> set[int]:
    return {i for i, point in enumerate(POINTS) if condition(point.product)}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_exact_search_equals_brute_force(index: Index, seed: int):
    scores = VECTORS @ query(seed)
    best = np.argsort(-scores)[:10]
    hits = index.search(query(seed), Filters(), limit=10, exact=True)
    assert [hit.product.id for hit in hits] == [f"sku/{i}" for i in best]
    np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)


def test_search_returns_whole_products(index: Index):
    [hit] = index.search(VECTORS[7], Filters(), limit=1)
    assert hit.product == POINTS[7].product
    assert hit.score == pytest.approx(1.0, abs=1e-5)


def test_products_are_at_the_points_of_their_ids(index: Index):
    wanted = [POINTS[place].product for place in (7, 2, 5)]
    assert index.at([point_id(product.id) for product in wanted]) == wanted


def test_pages_continue_where_the_last_one_ended(index: Index):
    whole = index.search(query(), Filters(), limit=20)
    pages = [hit for offset in (0, 5, 10, 15) for hit in index.search(query(), Filters(), limit=5, offset=offset)]
    assert [hit.product.id for hit in pages] == [hit.product.id for hit in whole]
    assert index.search(query(), Filters(), limit=5, offset=len(POINTS)) == []


def test_excluded_products_are_never_hits(index: Index):
    excluded = [hit.product.id for hit in index.search(query(), Filters(), limit=4)]
    points = [point_id(product_id) for product_id in (*excluded, "unknown")]
    hits = index.search(query(), Filters(), limit=len(POINTS), exclude_points=points)
    assert {hit.product.id for hit in hits} == {p.product.id for p in POINTS} - set(excluded)


@pytest.mark.parametrize("category", [["Furniture"], ["Furniture", "Sofas"], ["Furniture", "Chairs"], ["Lighting"]])
def test_category_filter_works_at_every_level(index: Index, category: list[str]):
    wanted = expected(lambda product: product.category[: len(category)] == category)
    assert found(index, Filters(category=category)) == wanted


def test_category_filter_needs_the_path_from_the_root(index: Index):
    assert found(index, Filters(category=["Sofas"])) == set()


@pytest.mark.parametrize(
    "attributes",
    [
        {"color": ["red"]},
        {"color": ["red", "blue"]},
        {"color": ["red"], "material": ["oak"]},
        {ODD_KEY: ["1", "3"]},
        {"color": ["no such colour"]},
    ],
)
def test_attribute_filter_takes_any_value_of_every_key(index: Index, attributes: dict[str, list[str]]):
    wanted = expected(lambda p: all(set(p.attributes[key]) & set(values) for key, values in attributes.items()))
    assert found(index, Filters(attributes=attributes)) == wanted


def test_attribute_without_values_asks_for_nothing(index: Index):
    assert index.count(Filters(attributes={"color": []}, ranges={"price": Range()})) == len(POINTS)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (Range(min=10, max=12), {10, 11, 12}),
        (Range(min=57.5), {58, 59}),
        (Range(max=1), {0, 1}),
        (Range(min=5, max=4), set()),
    ],
)
def test_ranges_include_their_ends(index: Index, limits: Range, wanted: set[int]):
    assert found(index, Filters(ranges={"price": limits})) == wanted


def test_number_keys_may_hold_dots(index: Index):
    assert found(index, Filters(ranges={"width.cm": Range(max=1)})) == {0, 1, 2}


def test_all_kinds_of_filters_work_together(index: Index):
    filters = Filters(category=["Furniture"], attributes={"color": ["red"]}, ranges={"price": Range(min=10, max=40)})
    wanted = expected(
        lambda p: p.category[0] == "Furniture" and "red" in p.attributes["color"] and 10 <= p.numbers["price"] <= 40
    )
    assert wanted
    assert found(index, filters) == wanted


def test_category_facet_counts_every_level(index: Index):
    counts = {facet.value: facet.count for facet in index.facets("category", Filters())}
    assert counts == {"Furniture": 40, "Furniture > Sofas": 20, "Furniture > Chairs": 20, "Lighting": 20}


def test_attribute_facets_count_products_under_the_filters(index: Index):
    assert [(f.value, f.count) for f in index.facets("color", Filters())] == [("blue", 50), ("red", 20)]
    chairs = index.facets("color", Filters(category=["Furniture", "Chairs"]))
    assert [(f.value, f.count) for f in chairs] == [("blue", 20)]
    assert {f.value: f.count for f in index.facets(ODD_KEY, Filters())} == {"0": 15, "1": 15, "2": 15, "3": 15}


def test_facets_keep_the_most_frequent_values(index: Index):
    assert [(f.value, f.count) for f in index.facets("color", Filters(), limit=1)] == [("blue", 50)]


@pytest.mark.parametrize("ids", [["sku/9", "sku/3", "sku/30"], ["sku/3", "sku/3"], []])
def test_products_and_vectors_come_in_the_order_asked_for(index: Index, ids: list[str]):
    positions = [int(product_id.removeprefix("sku/")) for product_id in ids]
    assert index.get(ids) == [POINTS[i].product for i in positions]
    vectors = index.vectors(ids)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(ids), DIMENSIONS)
    np.testing.assert_allclose(vectors, VECTORS[positions].reshape(len(ids), DIMENSIONS), atol=1e-6)


@pytest.mark.parametrize("read", ["get", "vectors"])
def test_unknown_product_is_named(index: Index, read: str):
    with pytest.raises(NotFoundError, match="'nowhere'"):
        getattr(index, read)(["sku/1", "nowhere", "sku/2"])


@pytest.mark.parametrize(
    ("filters", "known"),
    [
        (Filters(attributes={"colour": ["red"]}), "color, material, size"),
        (Filters(ranges={"weight": Range(min=1)}), "price, width.cm"),
        (Filters(attributes={'color" or "x': ["red"]}), "color, material"),
    ],
)
def test_unknown_filter_key_lists_the_known_ones(index: Index, filters: Filters, known: str):
    for ask in (lambda: index.search(query(), filters, 1), lambda: index.count(filters)):
        with pytest.raises(BadInputError, match=known):
            ask()


def test_unknown_facet_lists_the_known_ones(index: Index):
    with pytest.raises(BadInputError, match="color, material"):
        index.facets("price", Filters())


@pytest.mark.parametrize("limit", [float("nan"), float("inf")])
def test_limits_that_are_not_finite_are_refused(index: Index, limit: float):
    with pytest.raises(BadInputError, match="price"):
        index.count(Filters(ranges={"price": Range(min=limit)}))


@pytest.mark.parametrize("vector", [np.full(DIMENSIONS, np.nan), np.zeros(DIMENSIONS), np.ones(DIMENSIONS - 1)])
def test_query_vectors_that_mean_nothing_are_refused(index: Index, vector: np.ndarray):
    with pytest.raises(ValueError, match="the query"):
        index.search(vector.astype(np.float32), Filters(), limit=1)
