"""The HTTP API over a real embedded store, from ordinary requests to hostile ones."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import zlib
from urllib.parse import quote

import pytest
from answers import ids, message, upload
from fastapi.testclient import TestClient
from PIL import Image
from shop_samples import COLOURS, ODD_ID, ODD_TITLE, picture, publish

from app.api import create_api
from app.errors import IndexUnavailableError, ModelError, MoonError, OverloadedError, StoppingError

TRUNCATED = picture(size=(400, 400), kind="JPEG")[:-300]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png(side: int) -> bytes:
    """A PNG whose header promises side x side pixels; small, since it is never decoded."""
    chunks = [b"IHDR" + side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0]), b"IDAT"]
    framed = [(len(c) - 4).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def animated_gif() -> bytes:
    frames = [Image.new("RGB", (64, 48), COLOURS[colour]) for colour in ("red", "blue")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def half(left: str, right: str) -> Image.Image:
    image = Image.new("RGB", (64, 48), COLOURS[right])
    image.paste(COLOURS[left], (0, 0, 32, 48))
    return image


def rotated_jpeg() -> bytes:
    """Stored with red on the left; upright, after a turn by EXIF orientation 6, red is at the top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(half("red", "blue"), "JPEG", exif=exif, quality=95)


def test_text_search_by_post_and_by_get(client):
    posted = client.post("/api/v1/search", json={"text": "blue sofa", "limit": 3})
    assert ids(posted)[0] == "blue-sofa"
    assert ids(client.get("/api/v1/search", params={"text": "blue sofa", "limit": 3})) == ids(posted)
    body = posted.json()
    assert body["build"] == "20261121T060000-000001"
    assert {facet["value"]: facet["count"] for facet in body["facets"]["color"]} == {"red": 3, "blue": 2, "green": 2}
    assert list(body["timings"]) == ["embed", "search", "facets", "total"]


def test_photo_as_file_as_base64_and_as_data_url_find_the_same(client):
    text = base64.b64encode(picture("blue")).decode()
    found = ids(upload(client, picture("blue"), limit=2))
    assert set(found) == {"blue-chair", "blue-sofa"}
    assert ids(client.post("/api/v1/search", json={"image": text, "limit": 2})) == found
    assert ids(client.post("/api/v1/search", json={"image": f"data:image/png;base64,{text}", "limit": 2})) == found


def test_photo_and_text_together(client):
    response = upload(client, picture("green"), text="sofa", limit=1)
    assert ids(response) == ["green-sofa"]
    assert next(iter(response.json()["timings"])) == "decode"


def test_a_photo_without_a_query_field_is_a_search_by_photo(client):
    assert len(ids(client.post("/api/v1/search", files={"image": ("photo", picture("red"))}))) == 8


def test_a_box_is_cut_to_the_photo_and_told_back(client):
    response = upload(client, picture("red"), box=[10, 10, 500, 500], limit=1)
    assert response.json()["box"] == [10, 10, 64, 48]


def test_filters_and_pages(client):
    filters = {"category": ["Furniture"], "attributes": {"color": ["red", "blue"]}, "ranges": {"price": {"max": 100}}}
    assert set(ids(client.post("/api/v1/search", json={"text": "x", "filters": filters}))) == {
        "red-chair",
        "blue-chair",
    }
    by_get = client.get("/api/v1/search", params={"text": "x", "category": ["Furniture", "Sofas"]})
    assert set(ids(by_get)) == {"red-sofa", "blue-sofa", "green-sofa"}
    pages = [
        ids(client.get("/api/v1/search", params={"text": "red chair", "limit": 4, "offset": at})) for at in (0, 4, 8)
    ]
    assert [len(page) for page in pages] == [4, 4, 0]
    assert len({*pages[0], *pages[1]}) == 8


def test_similar_products(client):
    assert ids(client.get("/api/v1/similar/red-chair", params={"limit": 1})) == ["red-sofa"]
    assert ids(client.get("/api/v1/similar/red-chair", params={"category": "Lighting"}))[0] in {"lamp", ODD_ID}
    assert "'nothing'" in message(client.get("/api/v1/similar/nothing"), 404)


def test_any_product_id_can_be_addressed_percent_encoded(client):
    assert client.get(f"/api/v1/products/{quote(ODD_ID, safe='')}").json()["title"] == ODD_TITLE
    assert len(ids(client.get(f"/api/v1/similar/{quote(ODD_ID, safe='')}"))) == 3
    assert "'nothing'" in message(client.get("/api/v1/products/nothing"), 404)


def test_prediction_from_title_photo_and_both(client):
    by_title = client.post("/api/v1/predict", json={"title": "sofas in blue"}).json()
    assert [level[0]["label"] for level in by_title["categories"]] == ["Furniture", "Furniture > Sofas"]
    assert by_title["attributes"]["color"][0]["label"] == "blue"
    both = upload(client, picture("red"), "/api/v1/predict", title="chairs", limit=1, box=[0, 0, 20, 20]).json()
    assert both["categories"][1][0]["label"] == "Furniture > Chairs"
    assert both["box"] == [0, 0, 20, 20]
    assert upload(client, picture("red"), "/api/v1/predict").status_code == 200
    assert "nothing to predict" in message(client.post("/api/v1/predict", json={}), 400)


def test_pictures_of_products_are_served_with_their_type(client):
    response = client.get("/api/v1/products/red-chair/images/0")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert response.content == picture("red")
    assert response.headers["cache-control"] == "public, max-age=86400"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_products_name_their_pictures_by_address_never_by_path(client):
    product = client.get("/api/v1/products/red-chair").json()
    assert product["images"] == ["/api/v1/products/red-chair/images/0", "https://pictures.example/second.jpg"]
    for response in (client.get("/api/v1/search?text=red chair"), client.get("/api/v1/similar/blue-chair")):
        addresses = [address for hit in response.json()["hits"] for address in hit["product"]["images"]]
        assert addresses
        assert all(address.startswith(("/api/v1/products/", "https://")) for address in addresses)


def test_a_picture_elsewhere_on_the_web_is_redirected_to_not_fetched(client):
    response = client.get("/api/v1/products/red-chair/images/1", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, "https://pictures.example/second.jpg")


def test_only_pictures_of_the_index_are_served(client):
    assert "2 pictures" in message(client.get("/api/v1/products/red-chair/images/2"), 404)
    for number in (0, 1):  # a text file and a missing file
        error = message(client.get(f"/api/v1/products/lamp/images/{number}"), 404)
        assert "not on this server" in error
        assert "secret" not in error
        assert "/" not in error


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/products/..%2F..%2F..%2F..%2Fetc%2Fpasswd/images/0",
        "/api/v1/products/%2Fetc%2Fpasswd",
        "/api/v1/products/red-chair/images/..%2F..%2Fsecret.txt",
        "/api/v1/products/red-chair/images/-1",
        "/api/v1/products/red-chair/images/0%00",
        "/api/v1/products/%00/images/0",
        "/api/v1/products//images/0",
        "/api/v1/products/red-chair%2Fimages%2F0%2F..%2F..%2Fsecret.txt/images/0",
        "/api/v1/products/red-chair/images/99999999999999999999999",
    ],
)
def test_paths_that_try_to_leave_the_index_find_nothing(client, path):
    error = message(client.get(path), 404)
    assert "root:" not in error


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"this is no picture", "not a picture"),
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not a picture"),
        (TRUNCATED, "damaged or incomplete"),
        (picture(size=(1, 1)), "only 1 x 1 pixels"),
        (huge_png(20_000), "more pixels than the limit of 50 megapixels"),
        (bytes(2_000_001), "larger than the limit of 2 MB"),
    ],
    ids=["text", "empty", "svg", "truncated", "1x1", "20000x20000", "too many bytes"],
)
def test_unusable_photos_get_a_clear_message(client, data, reason):
    for path in ("/api/v1/search", "/api/v1/predict"):
        assert reason in message(upload(client, data, path), 400)


@pytest.mark.parametrize(
    "data",
    [
        animated_gif(),
        encoded(Image.new("CMYK", (64, 48), (0, 230, 230, 30)), "JPEG"),
        encoded(Image.new("RGB", (64, 48), COLOURS["red"]).convert("P"), "PNG"),
        encoded(Image.new("RGBA", (64, 48), (*COLOURS["red"], 230)), "PNG"),
    ],
    ids=["animated gif", "cmyk", "palette", "transparent"],
)
def test_unusual_pictures_are_understood(client, data):
    assert set(ids(upload(client, data, limit=2))) == {"red-chair", "red-sofa"}


def test_a_photo_is_turned_upright_before_the_box_is_applied(client):
    response = upload(client, rotated_jpeg(), box=[0, 0, 999, 999], limit=1)
    assert response.json()["box"] == [0, 0, 48, 64]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "query is empty"),
        ({"text": " \u0000 ", "filters": {"category": ["Furniture"]}}, "query is empty"),
        ({"text": "x" * 10_000}, "10000 characters"),
        ({"text": "x", "filters": {"attributes": {"shape": ["round"]}}}, "no attribute 'shape'"),
        ({"text": "x", "filters": {"ranges": {"weight": {"min": 1}}}}, "no number 'weight'"),
        ({"text": "x", "box": [0, 0, 5, 5]}, "without a photo"),
        ({"image": "not base64!"}, "not valid base64"),
        ({"image": "żółw"}, "not valid base64"),
        ({"image": base64.b64encode(b"no picture").decode()}, "not a picture"),
    ],
)
def test_unusable_queries_get_a_clear_message(client, body, reason):
    assert reason in message(client.post("/api/v1/search", json=body), 400)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "x", "limit": -1}, "limit"),
        ({"text": "x", "limit": 10**30}, "limit"),
        ({"text": "x", "offset": -1}, "offset"),
        ({"text": "x", "filters": {"colour": ["red"]}}, "filters.colour"),
        ({"text": "x", "unknown": 1}, "unknown"),
        ({"text": 7}, "text"),
        ({"box": [1, 2, 3]}, "box"),
        ([], "object"),
    ],
)
def test_unfit_fields_are_named(client, body, field):
    assert field in message(client.post("/api/v1/search", json=body), 422)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b'{"text": "\xff"}', b'{"text": "\\ud800"}'])
def test_broken_json_is_refused(client, data):
    message(client.post("/api/v1/search", content=data, headers={"Content-Type": "application/json"}), 422)


def test_other_bodies_are_refused(client):
    assert "application/json" in message(client.post("/api/v1/search", data={"text": "x"}), 415)
    assert "application/json" in message(client.post("/api/v1/search", content=b"{}"), 415)
    assert "fields `query`" in message(client.post("/api/v1/search", files={"photo": ("photo", picture())}), 400)
    assert "fields `query`" in message(client.post("/api/v1/search", files={"query": ("query", b"{}")}), 400)
    assert "two photos" in message(upload(client, picture(), image="aaaa"), 400)
    boundless = client.post("/api/v1/search", content=b"x", headers={"Content-Type": "multipart/form-data"})
    message(boundless, 400)


def test_a_body_over_the_limit_is_cut_off_while_it_is_read(client):
    def chunks():
        yield from [b"x" * 100_000] * 100

    for kind in ("application/json", "multipart/form-data; boundary=b"):
        error = message(client.post("/api/v1/search", content=chunks(), headers={"Content-Type": kind}), 413)
        assert "larger than 3.7 MB" in error


def test_markup_and_templates_go_through_untouched(client):
    response = client.post("/api/v1/search", json={"text": ODD_TITLE, "limit": 1})
    assert response.headers["content-type"] == "application/json"
    assert response.json()["hits"][0]["product"]["title"] == ODD_TITLE
    assert "{{7*7}}" in message(client.get("/api/v1/products/{{7*7}}"), 404)


@pytest.mark.parametrize(
    ("method", "path", "options", "kind"),
    [
        ("GET", "search?text=", {}, "bad-input"),
        ("POST", "search", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, "bad-request"),
        ("GET", "products/nothing", {}, "not-found"),
        ("GET", "nothing", {}, "no-address"),
        ("POST", "search", {"content": b"x" * 4_000_000, "headers": {"Content-Type": "application/json"}}, "too-large"),
        ("POST", "search", {"content": b"{}"}, "other-content"),
        ("GET", "search", {}, "unfit"),
    ],
)
def test_problems_tell_their_kind(client, method, path, options, kind):
    assert client.request(method, f"/api/v1/{path}", **options).json()["type"] == f"urn:moon:{kind}"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IndexUnavailableError, "no-index"),
        (ModelError, "other-model"),
        (OverloadedError, "overloaded"),
        (StoppingError, "stopping"),
        (MoonError, "unavailable"),
        (KeyError, "defect"),
    ],
)
def test_the_reasons_of_a_server_that_cannot_answer_are_told_apart(client, published, monkeypatch, error, kind):
    def fail(*_: object) -> None:
        raise error("no")

    monkeypatch.setattr(published.engine, "product", fail)
    response = client.get("/api/v1/products/lamp")
    assert response.json()["type"] == f"urn:moon:{kind}"
    assert ("retry-after" in response.headers) == (response.status_code == 503)


def test_unknown_paths_and_methods_are_json_too(client):
    assert "GET /api/v1/nothing" in message(client.get("/api/v1/nothing"), 404)
    assert "DELETE /api/v1/search" in message(client.delete("/api/v1/search"), 404)


def test_a_defect_shows_nothing_of_the_server(client, published, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("/srv/secret")

    monkeypatch.setattr(published.engine, "product", fail)
    assert "secret" not in message(client.get("/api/v1/products/lamp"), 500)


def test_openapi_describes_every_way_to_ask(client):
    schema = client.get("/openapi.json").json()
    paths = ["search", "predict", "similar/{product_id}", "products/{product_id}", "health/ready"]
    assert {f"/api/v1/{path}" for path in paths} <= set(schema["paths"])
    content = schema["paths"]["/api/v1/search"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    references = {part.split('"')[0] for part in json.dumps(schema).split("#/components/schemas/")[1:]}
    assert references <= set(schema["components"]["schemas"])
    assert client.get("/docs").status_code == 200


def test_health_names_what_is_missing_until_a_build_is_published(new_service, embedder, products):
    client = TestClient(create_api(new_service))
    first = client.get("/api/v1/health/ready")
    assert first.status_code == 503
    assert first.json()["reasons"] == ["the model is warming up", first.json()["reasons"][1]]
    assert "indexer rebuild" in first.json()["reasons"][1]
    assert "indexer rebuild" in message(client.get("/api/v1/search?text=chair"), 503)

    new_service.start()
    assert len(client.get("/api/v1/health/ready").json()["reasons"]) == 1
    publish(new_service.store, embedder, products)
    deadline = time.monotonic() + 10
    while client.get("/api/v1/health/ready").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    ready = client.get("/api/v1/health/ready").json()
    assert (ready["ready"], ready["reasons"], ready["products"]) == (True, [], 8)
    assert (ready["model"], ready["build"]) == ("colour-words", "20261121T060000-000001")
    assert len(ids(client.get("/api/v1/search?text=chair"))) == 8


def test_an_index_of_another_model_is_refused_with_what_to_do(new_service, embedder, products):
    publish(new_service.store, OtherModel(embedder), products)
    new_service.warm_up()
    client = TestClient(create_api(new_service))
    for error in (
        client.get("/api/v1/health/ready").json()["reasons"][0],
        message(client.get("/api/v1/search?text=x"), 503),
    ):
        assert "MOON_MODEL" in error
        assert "indexer rebuild" in error


class OtherModel:
    fingerprint = "another"

    def __init__(self, embedder) -> None:
        self._embedder = embedder

    def __getattr__(self, name):
        return getattr(self._embedder, name)


def test_a_broken_store_does_not_show_its_folder(new_service, embedder, products, settings):
    publish(new_service.store, embedder, products)
    (settings.data / "builds" / "CURRENT").write_text("20261121T060000-ffffff")
    client = TestClient(create_api(new_service))
    error = message(client.get("/api/v1/search?text=x"), 503)
    assert str(settings.data) not in error
    assert str(settings.data) not in client.get("/api/v1/health/ready").text


def test_a_rebuild_under_load_fails_no_request(new_service, embedder, products):
    publish(new_service.store, embedder, products)
    new_service.start()
    client = TestClient(create_api(new_service))
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def shop() -> None:
        while not stop.is_set():
            response = client.post("/api/v1/search", json={"text": "red chair", "filters": {"category": ["Furniture"]}})
            answers.append((response.status_code, response.json().get("build", response.text)))

    threads = [threading.Thread(target=shop) for _ in range(3)]
    for thread in threads:
        thread.start()
    shelf = products[0].model_copy(update={"id": "new"})
    builds = [f"20261121T060000-00000{number}" for number in (1, 2, 3)]
    for number, build in enumerate(builds):
        if number:
            publish(new_service.store, embedder, [*products, shelf], build)
        deadline = time.monotonic() + 10
        while (200, build) not in answers and time.monotonic() < deadline:
            time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert {build for _, build in answers} == set(builds)
