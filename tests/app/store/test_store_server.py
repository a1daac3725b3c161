"""What only a Qdrant server needs: limits on requests, waiting for the index, names shared with others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from qdrant_client import QdrantClient, models
from store_samples import load, make_manifest, make_points

from app.errors import BadInputError, IndexUnavailableError
from app.settings import Settings
from app.store import open_store
from app.store.base import Point
from app.store.server import ServerStore

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

GREEN, YELLOW, GREY, RED = (models.CollectionStatus(status) for status in ("green", "yellow", "grey", "red"))


@pytest.fixture
def client() -> QdrantClient:
    return QdrantClient(":memory:")


def test_a_large_batch_is_cut_for_the_server(client: QdrantClient):
    sizes: list[int] = []
    upload = client.upload_points

    def count_points(*args, **kwargs):
        sizes.append(kwargs["batch_size"])
        upload(*args, **kwargs)

    client.upload_points = count_points
    points = [Point(p.product.model_copy(update={"title": "x" * 1_500_000}), p.vector) for p in make_points(5)]
    load(ServerStore(client, "products"), "b1", points)
    assert sizes == [2, 2, 1]


def test_indexes_on_one_server_keep_apart(client: QdrantClient):
    german, plain = ServerStore(client, "products-de"), ServerStore(client, "products")
    load(german, "b1", make_points(1))
    load(plain, "b2", make_points(2))
    german.publish("b1")
    assert plain.published() is None
    assert [manifest.build for manifest in plain.builds()] == ["b2"]
    assert [manifest.build for manifest in german.builds()] == ["b1"]


def test_publishing_is_one_request(client: QdrantClient, monkeypatch: pytest.MonkeyPatch):
    store = ServerStore(client, "products")
    for build in ("b1", "b2"):
        load(store, build, make_points(1))
    requests: list[list[models.AliasOperations]] = []
    update = client.update_collection_aliases
    monkeypatch.setattr(
        client, "update_collection_aliases", lambda actions: requests.append(actions) or update(actions)
    )
    store.publish("b1")
    store.publish("b2")
    assert [[type(action).__name__ for action in actions] for actions in requests] == [
        ["CreateAliasOperation"],
        ["DeleteAliasOperation", "CreateAliasOperation"],
    ]


def test_a_collection_in_the_place_of_the_alias_is_explained(client: QdrantClient):
    client.create_collection("products", vectors_config={})
    with pytest.raises(BadInputError, match="MOON_COLLECTION"):
        ServerStore(client, "products").create(make_manifest())


def test_a_server_that_does_not_answer_is_explained():
    store = open_store(Settings(store="server", qdrant_url="http://127.0.0.1:9", _env_file=None))
    for ask in (store.published, store.builds, lambda: store.open("b1"), lambda: store.create(make_manifest())):
        with pytest.raises(IndexUnavailableError, match="MOON_QDRANT_URL"):
            ask()


def test_unfinished_builds_are_removed_once_they_are_abandoned(client: QdrantClient):
    store = ServerStore(client, "products")
    for build, days in (("b1", 30), ("b2", 1)):
        store.create(make_manifest(build))
        started = datetime.now(UTC) - timedelta(days=days)
        client.update_collection(f"products-{build}", metadata={"started": started.isoformat()})
    load(store, "b3", make_points(1))
    assert {c.name for c in client.get_collections().collections} == {"products-b2", "products-b3"}


def report(client: QdrantClient, monkeypatch: pytest.MonkeyPatch, statuses: list[models.CollectionStatus]) -> None:
    """Let the server pass through these states; the last one stays."""
    ask = client.get_collection

    def get_collection(name: str) -> models.CollectionInfo:
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        return ask(name).model_copy(update={"status": status})

    monkeypatch.setattr(client, "get_collection", get_collection)
    monkeypatch.setattr("app.store.server.time.sleep", lambda seconds: None)


def test_a_build_is_listed_only_after_the_server_has_indexed_it(client: QdrantClient, monkeypatch: pytest.MonkeyPatch):
    updates: list[list[str]] = []
    update = client.update_collection
    monkeypatch.setattr(
        client, "update_collection", lambda *args, **changes: updates.append([*changes]) or update(*args, **changes)
    )
    report(client, monkeypatch, [YELLOW, GREY, YELLOW, GREEN])
    store = ServerStore(client, "products")
    load(store, "b1", make_points(1))
    assert updates == [["hnsw_config"], ["optimizers_config"], ["metadata"]]
    assert [manifest.build for manifest in store.builds()] == ["b1"]


def test_a_build_that_the_server_cannot_index_is_dropped(client: QdrantClient, monkeypatch: pytest.MonkeyPatch):
    report(client, monkeypatch, [RED])
    with pytest.raises(IndexUnavailableError, match="could not index products-b1"):
        load(ServerStore(client, "products"), "b1", make_points(1))
    assert client.get_collections().collections == []
