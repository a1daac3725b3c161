from __future__ import annotations

import base64

from answers import message, upload
from shop_samples import picture

from app import MoonSearch
from app.facade import MAX_BATCH, Unread

RED = base64.b64encode(picture("red")).decode()


def test_one_unusable_product_does_not_fail_the_others(client):
    products = [
        {"title": "sofas in blue"},
        {"image": "not base64!"},
        {},
        {"title": "chairs", "image": RED, "box": [0, 0, 20, 20]},
        {"image": base64.b64encode(b"no picture").decode()},
        {"image": RED, "box": [900, 900, 999, 999]},
    ]
    answer = client.post("/api/v1/predict/batch", json={"products": products, "limit": 2}).json()["predictions"]
    assert [item.get("status", 200) for item in answer] == [200, 400, 400, 200, 400, 400]
    assert [item["detail"].split(";")[0] for item in answer if "detail" in item] == [
        "the image is not valid base64",
        "there is nothing to predict from",
        "the photo: not a picture that can be read",
        "the box [900.0, 900.0, 999.0, 999.0] marks nothing of the photo",
    ]
    for item, product in ((answer[0], products[0]), (answer[3], products[3])):
        alone = client.post("/api/v1/predict", json={**product, "limit": 2}).json()
        assert {**item, "timings": None} == {**alone, "timings": None}


def test_a_batch_is_bounded(client):
    for products in ([], [{"title": "x"}] * (MAX_BATCH + 1)):
        assert "products" in message(client.post("/api/v1/predict/batch", json={"products": products}), 422)
    assert "title" in message(client.post("/api/v1/predict/batch", json={"products": [{"title": 7}]}), 422)


def test_products_are_embedded_together_while_their_photos_fit_into_memory(published, monkeypatch):
    sizes = []
    embed = published.embedder.embed_products
    monkeypatch.setattr(
        published.embedder,
        "embed_products",
        lambda products, images: sizes.append(len(products)) or embed(products, images),
    )
    shop, photos = MoonSearch(service=published), [Unread(photo=picture("red"))] * 5
    shop.predict_many(photos)
    monkeypatch.setattr(published.settings, "max_image_pixels", 2 * 64 * 48)
    assert len(shop.predict_many(photos)) == 5
    assert sizes == [5, 2, 2, 1]


def test_a_batch_of_nothing_usable_needs_no_model(client):
    answer = client.post("/api/v1/predict/batch", json={"products": [{}, {}]}).json()["predictions"]
    assert [item["status"] for item in answer] == [400, 400]


def test_a_photo_in_a_form_is_for_one_product(client):
    assert upload(client, picture("red"), "/api/v1/predict/batch").status_code == 415
