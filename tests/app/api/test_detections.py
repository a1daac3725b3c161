from __future__ import annotations

import base64
import io

import pytest
from answers import message, upload
from PIL import Image
from shop_samples import picture

from app import MoonSearch
from app.moon.crops import usable_box
from app.schema import Box


def test_boxes_of_a_photo_as_a_file_and_as_base64(client, published, monkeypatch):
    def middle(queries) -> tuple[object, list[Box | None]]:
        boxes = [(q.image.width / 4, q.image.height / 4, q.image.width * 0.7, q.image.height * 0.7) for q in queries]
        return None, boxes

    monkeypatch.setattr(published.embedder, "embed_queries", middle)
    sent = upload(client, picture("red"), "/api/v1/detect").json()
    assert usable_box(sent["boxes"][0], 64, 48) == pytest.approx((16.0, 12.0, 64 * 0.7, 48 * 0.7))
    assert set(sent["timings"]) == {"decode", "detect", "total"}
    encoded = client.post("/api/v1/detect", json={"image": base64.b64encode(picture("red")).decode()}).json()
    assert encoded["boxes"] == sent["boxes"]
    assert MoonSearch(service=published).detect(picture("red")).boxes == [tuple(box) for box in sent["boxes"]]


def test_a_photo_is_needed(client):
    assert "send one" in message(client.post("/api/v1/detect", json={}), 400)
    assert "not a picture" in message(upload(client, b"no picture", "/api/v1/detect"), 400)
    assert "box" in message(client.post("/api/v1/detect", json={"box": [0, 0, 1, 1]}), 422)


def test_boxes_are_in_pixels_of_a_large_photo_too(client, published, monkeypatch):
    sizes = []

    def left(queries) -> tuple[object, list[Box | None]]:
        sizes.extend(query.image.size for query in queries)
        return None, [(0.0, 0.0, query.image.width / 2, float(query.image.height)) for query in queries]

    monkeypatch.setattr(published.embedder, "embed_queries", left)
    photo = io.BytesIO()
    Image.new("RGB", (2048, 1024)).save(photo, "PNG")
    (x0, y0, x1, y1), *_ = upload(client, photo.getvalue(), "/api/v1/detect").json()["boxes"]
    assert (x0, y0, y1) == (0, 0, 1024)
    assert x1 == pytest.approx(1024 / 1.05)
    assert max(sizes) == (1024, 512)
