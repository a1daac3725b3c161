"""A server that is restarted is waited for while a build is made, and not while somebody searches."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import grpc
import httpx
import pytest
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from store_samples import load, make_manifest, make_points

from app.errors import BadInputError, IndexUnavailableError
from app.schema import Filters
from app.settings import Settings
from app.store import open_store
from app.store.server import ServerStore
from app.store.server_client import PATIENCE_SECONDS, connect, is_transient, patiently

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

REFUSED = ResponseHandlingException(httpx.ConnectError("[Errno 111] Connection refused"))
RESTARTING = UnexpectedResponse(503, "Service Unavailable", b"", httpx.Headers())
WRONG_KEY = UnexpectedResponse(401, "Unauthorized", b"", httpx.Headers())


@pytest.fixture
def client() -> QdrantClient:
    return QdrantClient(":memory:")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited."""
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    return slept


def fail_at_first(client: QdrantClient, monkeypatch: pytest.MonkeyPatch, name: str, *errors: Exception) -> None:
    """Let a request fail with these errors in turn before it succeeds."""
    ask, left = getattr(client, name), list(errors)

    def failing(*args, **kwargs):
        if left:
            raise left.pop(0)
        return ask(*args, **kwargs)

    monkeypatch.setattr(client, name, failing)


@pytest.mark.parametrize(
    "request_name",
    [
        "create_payload_index",
        "upsert",
        "update_collection",
        "get_collection",
        "update_collection_aliases",
        "get_aliases",
    ],
)
def test_a_build_is_made_and_published_through_a_restart_of_the_server(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch, waits: list[float], request_name: str
):
    fail_at_first(client, monkeypatch, request_name, REFUSED, RESTARTING, REFUSED)
    store = ServerStore(client, "products")
    load(store, "b1", make_points(20))
    store.publish("b1")
    assert store.published() == "b1"
    assert store.open("b1").count(Filters()) == 20
    assert len([wait for wait in waits if wait != 0.5]) == 3


def test_waits_grow_and_are_logged(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch, waits: list[float], caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("tenacity.wait.random.uniform", lambda low, high: high)
    fail_at_first(client, monkeypatch, "upsert", *[REFUSED] * 7)
    with caplog.at_level(logging.WARNING):
        load(ServerStore(client, "products"), "b1", make_points(1))
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert "Connection refused" in caplog.text


def test_patience_ends_after_minutes(waits: list[float], monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count(step=60)
    monkeypatch.setattr("tenacity.time.monotonic", lambda: next(clock))

    @patiently
    def ask() -> None:
        raise REFUSED

    with pytest.raises(ResponseHandlingException):
        ask()
    assert 2 <= len(waits) <= PATIENCE_SECONDS / 60


def test_what_no_waiting_mends_fails_at_once(client: QdrantClient, monkeypatch: pytest.MonkeyPatch, waits: list[float]):
    fail_at_first(client, monkeypatch, "upsert", WRONG_KEY)
    with pytest.raises(IndexUnavailableError, match="MOON_QDRANT_API_KEY"):
        load(ServerStore(client, "products"), "b1", make_points(1))
    assert waits == []


def test_a_search_does_not_wait_for_the_server(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch, waits: list[float]
):
    store = ServerStore(client, "products")
    load(store, "b1", make_points(5))
    store.publish("b1")
    index = store.open("b1")
    fail_at_first(client, monkeypatch, "query_points", REFUSED)
    fail_at_first(client, monkeypatch, "get_aliases", REFUSED)
    with pytest.raises(IndexUnavailableError, match="did not answer"):
        index.search(make_points(1)[0].vector, Filters(), limit=5)
    with pytest.raises(IndexUnavailableError, match="did not answer"):
        store.published()
    assert waits == []


def test_requests_carry_the_key_and_are_repeated_over_http(waits: list[float]):
    answers = iter([503, 503, 200])
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers["api-key"]))
        return httpx.Response(next(answers), json={"result": {"collections": []}, "status": "ok", "time": 0.0})

    client = QdrantClient(
        url="https://qdrant.example:6333",
        api_key="secret",
        check_compatibility=False,
        transport=httpx.MockTransport(answer),
    )
    assert patiently(client.get_collections)().collections == []
    assert seen == [("https://qdrant.example:6333/collections", "secret")] * 3
    assert len(waits) == 2


def test_grpc_is_used_where_a_port_is_given(waits: list[float]):
    settings = Settings(store="server", qdrant_url="http://127.0.0.1:9", qdrant_grpc_port=9, _env_file=None)
    client = connect(settings)
    with pytest.raises(grpc.RpcError) as refused:
        client.get_collections()
    assert is_transient(refused.value)
    store = open_store(settings)
    with pytest.raises(IndexUnavailableError, match="MOON_QDRANT_GRPC_PORT"):
        store.published()


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path):
    for text in (None, "no certificate"):
        file = tmp_path / "ca.pem"
        if text:
            file.write_text(text)
        with pytest.raises(BadInputError, match=r"MOON_QDRANT_CA: .*ca\.pem"):
            connect(Settings(qdrant_url="https://qdrant.example", qdrant_ca=file, _env_file=None))


def test_a_started_manifest_of_a_killed_request_is_not_published(client: QdrantClient):
    store = ServerStore(client, "products")
    store.create(make_manifest("b1"))
    with pytest.raises(IndexUnavailableError, match="no finished build"):
        store.publish("b1")
