"""What the guard lets through to the API and what it refuses."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gated import GatedEmbedder
from starlette.types import Message

from app import guard
from app.api import create_api
from app.serving import Service
from app.settings import Settings
from tests.loops import finished

API = "/api/v1"
SEARCH = f"{API}/search?text=chair"
PICTURE = f"{API}/products/red-chair/images/0"
HEALTH = f"{API}/health/ready"


@pytest.fixture
def guarded(published: Service) -> Iterator[Callable[..., FastAPI]]:
    """The API over the published shop with other settings, and another embedder where a test brings one."""
    services = []

    def build(embedder=None, **values: object) -> FastAPI:
        settings = Settings(_env_file=None, data=published.settings.data, **values)
        service = Service(settings, embedder or published.embedder, published.store)
        services.append(service)
        api = create_api(service)
        api.state.service = service
        return api

    yield build
    for service in services:
        service.close()


@pytest.fixture
def gated() -> Iterator[GatedEmbedder]:
    embedder = GatedEmbedder()
    yield embedder
    embedder.gate.set()


def rejected(api: FastAPI, reason: str) -> float:
    return api.state.service.metrics.registry.get_sample_value("moon_rejected_total", {"reason": reason}) or 0.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_with_keys_the_api_and_the_metrics_need_one(guarded):
    api = guarded(api_keys="first, second")
    client = TestClient(api)
    for path in (SEARCH, "/metrics", f"{API}/nothing", f"{API}/similar/health", f"{API}/products/x/images/0/health"):
        refused = client.get(path)
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["type"] == "urn:moon:no-key"
        assert "X-API-Key" in refused.json()["detail"]
    for headers in (
        {"Authorization": "Bearer wrong"},
        {"X-API-Key": "Zażółć".encode()},
        {"Authorization": "Basic first"},
    ):
        assert client.get(SEARCH, headers=headers).status_code == 401
    for headers in ({"Authorization": "Bearer first"}, {"X-API-Key": "second"}):
        assert client.get(SEARCH, headers=headers).status_code == 200
        assert client.get("/metrics", headers=headers).status_code == 200
    assert rejected(api, "key") == 8


def test_probes_and_pictures_need_no_key(guarded):
    client = TestClient(guarded(api_keys="first"))
    assert client.get(HEALTH).status_code == 503  # cold
    assert client.get(PICTURE).status_code == 200
    assert client.get("/docs").status_code == 200


def test_a_client_above_its_rate_is_told_when_to_come_back(guarded):
    api = guarded(rate_per_second=0.01, rate_burst=2)
    client = TestClient(api, client=("10.0.0.1", 1))
    assert [client.get(SEARCH).status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get(SEARCH, headers={"X-Forwarded-For": "10.9.9.9"})
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:moon:rate")
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert client.get(PICTURE).status_code == 200
    assert TestClient(api, client=("10.0.0.2", 1)).get(SEARCH).status_code == 200
    assert rejected(api, "rate") == 2


@pytest.mark.parametrize(
    ("headers", "addresses", "statuses"),
    [
        ({}, ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], [200, 429, 200]),
        ({"X-API-Key": "a"}, ["10.0.0.1", "10.0.0.2", "10.0.0.3"], [200, 429, 429]),
    ],
    ids=["IPv6 network", "key"],
)
def test_the_rate_is_that_of_a_network_or_of_a_key(guarded, headers, addresses, statuses):
    api = guarded(rate_per_second=0.01, rate_burst=1, **({"api_keys": "a"} if headers else {}))
    answers = [TestClient(api, client=(address, 1)).get(SEARCH, headers=headers) for address in addresses]
    assert [answer.status_code for answer in answers] == statuses


def test_a_request_without_a_place_is_refused_at_once(guarded, gated):
    api = guarded(gated, max_requests=1)
    client = TestClient(api)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.get, SEARCH)
        assert gated.entered.wait(10)
        refused = client.get(SEARCH)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["type"] == "urn:moon:full"
        assert client.get(PICTURE).status_code == 200
        gated.gate.set()
        assert first.result(10).status_code == 200
    assert client.get(SEARCH).status_code == 200
    assert rejected(api, "full") == 1


def test_a_query_that_waits_too_long_for_the_model_is_answered_503_with_when_to_come_back(guarded, gated):
    api = guarded(gated, max_wait_ms=1500)
    client, service = TestClient(api), api.state.service
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.get, SEARCH)
        assert gated.entered.wait(10)
        second = pool.submit(client.get, SEARCH)
        until(lambda: service.metrics.registry.get_sample_value("moon_queue_length") == 1)
        threading.Event().wait(1.6)
        gated.gate.set()
        refused = second.result(10)
        assert first.result(10).status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "queries are waiting for the model" in refused.json()["detail"]


def test_a_stopping_server_refuses_new_requests_and_says_that_it_is_not_ready(guarded):
    api = guarded()
    api.state.service.draining = True
    refused = TestClient(api).get(SEARCH)
    assert (refused.status_code, refused.headers["connection"]) == (503, "close")
    assert refused.json()["type"] == "urn:moon:stopping"
    assert "the server is stopping" in TestClient(api).get(HEALTH).json()["reasons"]


def scope(path: str, method: str = "GET") -> dict[str, object]:
    name, _, query = path.partition("?")
    headers = [(b"host", b"shop"), (b"content-type", b"application/json")]
    return {
        "type": "http",
        "method": method,
        "path": name,
        "query_string": query.encode(),
        "headers": headers,
        "client": ("10.0.0.1", 1),
    }


async def ask(api: FastAPI, asked: dict[str, object], messages: AsyncIterator[Message]) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await api(asked, messages.__anext__, send)
    return sent


def test_the_query_of_a_client_that_is_gone_is_not_embedded(guarded, gated):
    api = guarded(gated)
    service = api.state.service

    async def leaves() -> AsyncIterator[Message]:
        yield {"type": "http.request", "body": b""}
        await asyncio.to_thread(until, lambda: service.metrics.registry.get_sample_value("moon_queue_length") == 1)
        asyncio.get_running_loop().call_soon(gated.gate.set)
        yield {"type": "http.disconnect"}

    async def both() -> None:
        first = asyncio.create_task(asyncio.to_thread(TestClient(api).get, SEARCH))
        await asyncio.to_thread(gated.entered.wait, 10)
        await ask(api, scope(f"{API}/search?text=forsaken"), leaves())
        assert (await first).status_code == 200

    finished(both())
    assert gated.asked == [["chair"]]
    assert rejected(api, "gone") == 1


def test_a_request_that_does_not_arrive_is_given_up(guarded, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def drips() -> AsyncIterator[Message]:
        yield {"type": "http.request", "body": b"{", "more_body": True}
        await asyncio.Event().wait()

    sent = finished(ask(guarded(), scope(f"{API}/search", "POST"), drips()))
    assert sent[0]["status"] == 408
    assert b"did not arrive" in sent[1]["body"]
