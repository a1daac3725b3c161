"""Headers of every response, and what is counted of them."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families as parsed
from shop_samples import picture

from app.api import create_api
from app.observe import SECURITY_HEADERS
from app.serving import Service
from app.settings import Settings

API = "/api/v1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{API}/search?text=chair", 200),
        ("GET", f"{API}/products/red-chair/images/0", 200),
        ("GET", f"{API}/nothing", 404),
        ("POST", f"{API}/search", 415),
        ("GET", f"{API}/products/lamp", 500),
        ("GET", "/metrics", 200),
    ],
)
def test_every_answer_has_the_headers_that_browsers_obey(client, published, monkeypatch, method, path, status):
    if status == 500:
        monkeypatch.setattr(published.engine, "product", None)
    response = client.request(method, path)
    assert response.status_code == status
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "server" not in response.headers


def test_another_site_may_use_the_api_only_if_a_setting_names_it(published):
    settings = Settings(
        _env_file=None, data=published.settings.data, cors_origins="https://a.example,https://b.example"
    )
    service = Service(settings, published.embedder, published.store)
    asked = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
    named, unnamed = TestClient(create_api(service)), TestClient(create_api(published))
    preflight = named.options(f"{API}/search", headers=asked | {"Access-Control-Request-Headers": "X-API-Key"})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "https://b.example")
    assert "access-control-allow-credentials" not in preflight.headers
    answer = named.get(f"{API}/search?text=x", headers=asked | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    for path, ask in (("search", unnamed.options), ("health/ready", unnamed.get)):
        response = ask(f"{API}/{path}", headers=asked)
        assert "access-control-allow-origin" not in response.headers
    service.close()


def test_metrics_are_what_prometheus_reads_and_count_what_happened(published):
    service = Service(published.settings, published.embedder, published.store)
    client = TestClient(create_api(service))
    client.get(f"{API}/search?text=chair")
    client.post(f"{API}/search", files={"image": ("photo", picture("red"))})
    client.post(f"{API}/predict", json={"title": "chair"})
    client.get(f"{API}/search?text=")
    client.get(f"{API}/products/a")
    client.get(f"{API}/products/b")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in parsed(client.get("/metrics").text)
        for sample in family.samples
    }
    assert samples["moon_requests_total", f"{API}/search", "200"] == 2
    assert samples["moon_requests_total", f"{API}/search", "400"] == 1
    assert sum(value for key, value in samples.items() if key[0] == "moon_requests_total" and "404" in key) == 2
    assert samples["moon_request_seconds_count", f"{API}/search"] == 3
    assert samples["moon_stage_seconds_count", "decode"] == 1
    assert samples["moon_stage_seconds_count", "total"] == 3
    assert samples["moon_batch_queries_sum",] == samples["moon_queue_wait_seconds_count",] == 2
    assert samples["moon_queue_length",] == samples["moon_requests_in_work",] == 0
    assert samples["moon_products",] == 8
    assert samples["moon_build_age_seconds",] > 0
    service.close()


def test_recommendations_are_timed_and_warming_up_is_not(published):
    service = Service(published.settings, published.embedder, published.store)
    service.warm_up()
    assert service.metrics.percentiles() == {}
    service.engine.similar("red-chair")
    assert {stage: lately.answers for stage, lately in service.metrics.percentiles().items()} == {
        "search": 1,
        "total": 1,
    }
    service.close()


def test_labels_of_metrics_do_not_grow_with_what_clients_send(client, published):
    for number in range(20):
        client.get(f"{API}/products/id-{number}")
        client.get(f"/page-{number}")
        client.request(f"VERB{number}", f"{API}/search")
    routes = set(re.findall(r'moon_requests_total\{route="([^"]*)"', client.get("/metrics").text))
    assert not [route for route in routes if re.search(r"\d", route.replace("/v1", ""))]
    assert len(routes) < 12


def test_percentiles_are_those_of_the_last_answers(published):
    metrics = Service(published.settings, published.embedder, published.store).metrics
    for milliseconds in range(1, 101):
        metrics.observe({"embed": float(milliseconds), "total": 2.0 * milliseconds})
    lately = metrics.percentiles()
    assert lately["embed"].answers == 100
    assert lately["embed"].p50 == pytest.approx(50.5)
    assert lately["total"].p95 == pytest.approx(2 * lately["embed"].p95)
    assert lately["embed"].p50 < lately["embed"].p95 < lately["embed"].p99 <= 100
    assert metrics.percentiles(seconds=0) == {}
