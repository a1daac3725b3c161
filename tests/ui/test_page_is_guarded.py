"""What guards the page's own addresses, without a browser."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.api import create_api
from app.observe import PAGE_POLICY
from app.serving import Service
from ui import uploads
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


def test_uploads_are_refused_while_those_of_the_last_hour_fill_the_disk(shop_service, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(shop_service, "settings", shop_service.settings.model_copy(update={"max_upload_bytes": 80_000}))
    hours = [0.0]
    monkeypatch.setattr(uploads, "time", SimpleNamespace(monotonic=lambda: 3600 * hours[0], time=time.time))
    with TestClient(mount(create_api(shop_service), shop_service)) as client:
        sent = {"files": ("a.jpg", b"x" * 50_000)}
        first, second = (client.post("/gradio_api/upload", files=sent) for _ in range(2))
        assert first.status_code == 200
        assert (second.status_code, second.headers["retry-after"]) == (503, "60")
        assert uploads.NO_ROOM in second.text
        assert second.headers["x-content-type-options"] == "nosniff"
        assert client.get("/api/v1/health/live").status_code == 200
        hours[0] = 1.5
        assert client.post("/gradio_api/upload", files=sent).status_code == 200


def test_what_broken_uploads_leave_is_removed_in_time(page, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    old, new, whole = tmp_path / "tmpold", tmp_path / "tmpnew", tmp_path / "ab12" / "tmp.jpg"
    whole.parent.mkdir()
    for file in (old, new, whole):
        file.write_bytes(b"x")
    for file in (old, whole):
        os.utime(file, (0, 0))
    assert page.post("/gradio_api/upload", files={"files": ("a.jpg", b"x")}).status_code == 200
    assert (old.exists(), new.exists(), whole.exists()) == (False, True, True)


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


JOIN = "/gradio_api/queue/join"
ASKED = {"data": [], "fn_index": 0, "session_hash": "a"}


@pytest.fixture
def limited(shop_service: Service) -> Iterator[Service]:
    """The shop with keys, and a rate that lets two requests of a client through."""
    limits = {"rate_per_second": 0.001, "rate_burst": 2, "api_keys": (SecretStr("key"),)}
    own = Service(shop_service.settings.model_copy(update=limits), shop_service.embedder, shop_service.store)
    yield own
    own.close()


def test_the_page_asks_without_a_key_at_the_rate_of_one_client(limited: Service):
    page = TestClient(mount(create_api(limited), limited), base_url="http://shop.example")
    answers = [page.post(JOIN, json=ASKED) for _ in range(3)]
    assert not {answer.status_code for answer in answers[:2]} & {401, 429}
    assert answers[2].status_code == 429
    assert int(answers[2].headers["retry-after"]) > 1
    assert page.get("/").status_code == 200
    assert page.get("/api/v1/search?text=x", headers={"X-API-Key": "key"}).status_code == 200


def test_a_stopping_server_takes_no_more_from_the_page(limited: Service):
    limited.draining = True
    page = TestClient(mount(create_api(limited), limited), base_url="http://shop.example")
    assert page.post(JOIN, json=ASKED).status_code == 503
