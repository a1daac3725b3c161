from __future__ import annotations

import pytest
from answers import ids, message, upload
from shop_samples import ODD_ID, picture

from app.schema import MAX_ID, MAX_KEYS, MAX_LEVELS, MAX_NAME, MAX_VALUES

LONG = "x" * (MAX_NAME + 1)
TOO_LARGE = [
    {"category": ["x"] * (MAX_LEVELS + 1)},
    {"category": [LONG]},
    {"attributes": {"color": ["red"] * (MAX_VALUES + 1)}},
    {"attributes": {"color": [LONG]}},
    {"attributes": {LONG: ["red"]}},
    {"attributes": {f"key {number}": [] for number in range(MAX_KEYS + 1)}},
    {"ranges": {LONG: {"min": 1}}},
    {"ranges": {f"key {number}": {"min": 1} for number in range(MAX_KEYS + 1)}},
]


def test_weights_slide_from_the_photo_to_the_text(client):
    by_photo = ids(upload(client, picture("red")))
    by_text = ids(client.post("/api/v1/search", json={"text": "blue sofa"}))
    assert ids(upload(client, picture("red"), text="blue sofa", weights={"text": 0})) == by_photo
    assert ids(upload(client, picture("red"), text="blue sofa", weights={"photo": 0, "text": 3})) == by_text
    even = upload(client, picture("red"), text="blue sofa", weights={"photo": 2, "text": 2})
    assert ids(even) == ids(upload(client, picture("red"), text="blue sofa"))


@pytest.mark.parametrize("weights", [{"photo": 0, "text": 0}, {"photo": -1}, {"text": 1e9}, {"words": 1}, 1])
def test_unfit_weights_are_named(client, weights):
    assert "weights" in message(client.post("/api/v1/search", json={"text": "x", "weights": weights}), 422)


def test_weights_without_a_photo_are_refused(client):
    body = {"text": "x", "weights": {"photo": 2}}
    assert "photo and a text together" in message(client.post("/api/v1/search", json=body), 400)


def test_results_are_sorted_and_grouped_by_post_and_by_get(client):
    asked = {"text": "blue sofa", "sort": "-price", "group": True, "limit": 2}
    posted = client.post("/api/v1/search", json=asked)
    assert ids(posted)[0] == "blue-sofa"
    assert len({hit["product"].get("group_id") or hit["product"]["id"] for hit in posted.json()["hits"]}) == 2
    assert ids(client.get("/api/v1/search", params=asked)) == ids(posted)
    assert "it has: match, price" in message(client.get("/api/v1/search?text=x&sort=weight"), 400)


def test_recommended_products_have_addresses_and_are_none_of_the_given(client):
    response = client.post("/api/v1/recommend", json={"liked": ["red-chair", "lamp"], "disliked": [ODD_ID]})
    assert [product_id.endswith("sofa") for product_id in ids(response)] == [True]
    assert response.json()["hits"][0]["product"]["images"][0].startswith("/api/v1/products/")
    filters = {"attributes": {"color": ["blue"]}}
    assert ids(client.post("/api/v1/recommend", json={"liked": ["lamp"], "filters": filters, "limit": 1}))


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"liked": []}, 422, "liked"),
        ({"disliked": ["lamp"]}, 422, "liked"),
        ({"liked": ["lamp"] * 101}, 422, "liked"),
        ({"liked": ["lamp"], "more": 1}, 422, "more"),
        ({"liked": ["lamp"], "disliked": ["lamp"]}, 400, "both liked and disliked"),
        ({"liked": ["lamp", "none"], "disliked": ["gone"]}, 404, "'none', 'gone'"),
    ],
)
def test_unusable_recommendations_get_a_clear_message(client, body, status, reason):
    assert reason in message(client.post("/api/v1/recommend", json=body), status)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b'{"liked": ["\xff"]}', b'{"liked": ["\\ud800"]}'])
def test_broken_json_is_refused(client, data):
    for path in ("recommend", "predict/batch"):
        response = client.post(f"/api/v1/{path}", content=data, headers={"Content-Type": "application/json"})
        message(response, response.status_code)
        assert response.status_code in (400, 422)


def test_a_body_over_the_limit_is_cut_off_while_it_is_read(client):
    def chunks():
        yield from [b"x" * 100_000] * 100

    for path in ("recommend", "predict/batch"):
        json = {"Content-Type": "application/json"}
        assert "larger than" in message(client.post(f"/api/v1/{path}", content=chunks(), headers=json), 413)


@pytest.mark.parametrize("filters", TOO_LARGE, ids=lambda filters: f"{next(iter(filters))}-{len(str(filters))}")
def test_filters_that_are_too_large_are_refused_in_few_words(client, filters):
    for path, body in (("search", {"text": "chair"}), ("recommend", {"liked": ["lamp"]})):
        named = message(client.post(f"/api/v1/{path}", json={**body, "filters": filters}), 422)
        assert f"filters.{next(iter(filters))}" in named
        assert len(named) < 1000


def test_the_largest_filters_are_used(client):
    values = [f"{number:04}".ljust(MAX_NAME, "x") for number in range(MAX_VALUES - 1)]
    filters = {"attributes": {"color": ["red", *values]}, "category": ["Furniture"]}
    assert set(ids(client.post("/api/v1/search", json={"text": "chair", "filters": filters}))) == {
        "red-chair",
        "red-sofa",
    }


@pytest.mark.parametrize("path", ["search?text=chair", "similar/red-chair?limit=1"])
def test_categories_in_an_address_have_the_same_limits(client, path):
    for levels in (["x"] * (MAX_LEVELS + 1), [LONG]):
        query = "".join(f"&category={level}" for level in levels)
        assert "category" in message(client.get(f"/api/v1/{path}{query}"), 422)


def test_orders_and_ids_are_no_longer_than_they_can_be(client):
    assert "sort" in message(client.get(f"/api/v1/search?text=x&sort={LONG}"), 422)
    assert "sort" in message(client.post("/api/v1/search", json={"text": "x", "sort": LONG}), 422)
    for path in ("similar/{}", "products/{}", "products/{}/images/0"):
        assert "product_id" in message(client.get(f"/api/v1/{path.format('x' * (MAX_ID + 1))}"), 422)
        assert "xxx" in message(client.get(f"/api/v1/{path.format('x' * MAX_ID)}"), 404)


def test_many_unfit_fields_are_named_in_part(client):
    body = {"text": "x", **{f"{number} {'y' * 1000}": 1 for number in range(1000)}}
    named = message(client.post("/api/v1/search", json=body), 422)
    assert named.count("yyy...: Extra inputs") == 10
    assert named.endswith("and 990 more")
    assert len(named) < 2000
