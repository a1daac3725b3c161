"""What guards the page's own addresses, without a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.api import create_api
from app.observe import PAGE_POLICY
from app.serving import Service
from ui.page import mount


@pytest.fixture
def page(shop_service: Service) -> Iterator[TestClient]:
    with TestClient(mount(create_api(shop_service), shop_service), base_url="http://shop.example") as client:
        yield client


def test_the_page_has_its_policy_and_lets_no_other_site_read_it(page):
    answer = page.get("/", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == PAGE_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_settles_its_language_before_gradio_asks_for_it(page):
    answer = page.get("/")
    assert answer.text.index("LOCALES = ") < answer.text.index("gradio_config")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert page.post("/").status_code == 405


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload"])
def test_bodies_that_are_sent_to_the_page_are_limited_too(page, path):
    def chunks():
        yield from [b"x" * 1_000_000] * 40

    kind = "multipart/form-data; boundary=b" if path.endswith("upload") else "application/json"
    answer = page.post(path, content=chunks(), headers={"Content-Type": kind})
    assert answer.status_code == 413
    assert "larger than 27.7 MB" in answer.text


def test_a_file_of_the_server_cannot_be_named_as_an_upload(page, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("title\nsecret bed\n")
    events = {event["api_name"]: event["id"] for event in page.get("/config").json()["dependencies"]}
    file = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    for name, data in {"predict_all": [[file]], "predict": ["", file]}.items():
        asked = {"data": data, "fn_index": events[name], "session_hash": name}
        assert page.post("/gradio_api/queue/join", json=asked).status_code == 200
        answer = page.get("/gradio_api/queue/data", params={"session_hash": name}).text
        assert "not named by its path" in answer
        assert "secret" not in answer
