from __future__ import annotations

from importlib.metadata import version

from fastapi.testclient import TestClient

from app.api import create_api


def test_a_process_lives_before_it_is_ready(new_service):
    client = TestClient(create_api(new_service))
    assert client.get("/api/v1/health/live").json() == {"live": True}
    assert client.get("/api/v1/health/ready").status_code == 503


def test_status_tells_what_is_served_and_by_which_software(client, published):
    status = client.get("/api/v1/status").json()
    assert (status["build"], status["products"], status["ready"]) == ("20261121T060000-000001", 8, True)
    assert (status["model"], status["fingerprint"], status["dimensions"]) == ("colour-words", "colour-words-1", 64)
    assert status["version"] == version("moon-search")
    assert 0 <= status["age_seconds"] < 3600
    assert [(build["build"], build["products"]) for build in status["builds"]] == [("20261121T060000-000001", 8)]


def test_status_before_the_first_build_tells_what_is_missing(new_service):
    status = TestClient(create_api(new_service)).get("/api/v1/status").json()
    assert "indexer rebuild" in " ".join(status["reasons"])
    assert (status["build"], status["age_seconds"], status["builds"]) == (None, None, [])
