"""What only a Qdrant server needs: limits on requests, waiting for the index, names shared with others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from qdrant_client import QdrantClient, models
from store_samples import load, make_manifest, make_points

from app.errors import BadInputError, IndexUnavailableError
from app.schema import Filters
from app.settings import Settings
from app.store import open_store
from app.store.base import Point
from app.store.server import ServerStore

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")

GREEN, YELLOW, GREY, RED = (models.CollectionStatus(status) for status in ("green", "yellow", "grey", "red"))


@pytest.fixture
def client() -> QdrantClient:
    return QdrantClient(":memory:")


def test_a_large_batch_is_cut_for_the_server(client: QdrantClient, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    upsert = client.upsert

    def count_points(collection: str, rows: list[models.PointStruct], **kwargs):
        sizes.append(len(rows))
        return upsert(collection, rows, **kwargs)

    monkeypatch.setattr(client, "upsert", count_points)
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
    monkeypatch.setattr("app.store.server_writer.time.sleep", lambda seconds: None)


def test_a_build_is_listed_only_after_the_server_has_indexed_it(client: QdrantClient, monkeypatch: pytest.MonkeyPatch):
    updates: list[list[str]] = []
    update = client.update_collection
    monkeypatch.setattr(
        client, "update_collection", lambda *args, **changes: updates.append([*changes]) or update(*args, **changes)
    )
    report(client, monkeypatch, [YELLOW, GREY, YELLOW, GREEN])
    store = ServerStore(client, "products")
    load(store, "b1", make_points(1))
    assert updates == [["hnsw_config", "quantization_config"], ["optimizers_config"], ["metadata"]]
    assert [manifest.build for manifest in store.builds()] == ["b1"]


def test_a_build_that_the_server_cannot_index_is_dropped(client: QdrantClient, monkeypatch: pytest.MonkeyPatch):
    report(client, monkeypatch, [RED])
    with pytest.raises(IndexUnavailableError, match="could not index products-b1"):
        load(ServerStore(client, "products"), "b1", make_points(1))
    assert client.get_collections().collections == []


def created_with(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What collections are created and then updated with."""
    asked: list[dict[str, object]] = []
    for name in ("create_collection", "update_collection"):
        ask = getattr(client, name)
        monkeypatch.setattr(
            client, name, lambda *args, ask=ask, **settings: asked.append(settings) or ask(*args, **settings)
        )
    return asked


def test_a_small_collection_is_kept_as_the_server_keeps_it(client: QdrantClient, monkeypatch: pytest.MonkeyPatch):
    asked = created_with(client, monkeypatch)
    load(ServerStore(client, "products"), "b1", make_points(1))
    created, indexed, _ = asked
    assert (created["vectors_config"].on_disk, created["on_disk_payload"]) == (False, None)
    assert (created["hnsw_config"].m, indexed["hnsw_config"].m) == (0, 16)
    assert indexed["quantization_config"] is None


def test_a_large_collection_is_on_disk_and_searched_by_eight_bits(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch
):
    asked = created_with(client, monkeypatch)
    monkeypatch.setattr("app.store.server_writer.LARGE_BYTES", 16 * 4 - 1)
    store = ServerStore(client, "products")
    load(store, "b1", make_points(1))
    created, indexed, _ = asked
    assert (created["vectors_config"].on_disk, created["on_disk_payload"]) == (True, True)
    assert indexed["quantization_config"].scalar.type == models.ScalarType.INT8

    searched: list[models.SearchParams] = []
    search = client.query_points
    monkeypatch.setattr(
        client, "query_points", lambda *args, **how: searched.append(how["search_params"]) or search(*args, **how)
    )
    index = store.open("b1")
    for exact in (False, True):
        index.search(make_points(1)[0].vector, Filters(), limit=1, exact=exact)
    assert (searched[0].quantization.rescore, searched[0].quantization.oversampling) == (True, 2.0)
    assert (searched[1].exact, searched[1].quantization.ignore) == (True, True)


def test_shards_and_replicas_are_those_of_the_settings(client: QdrantClient, monkeypatch: pytest.MonkeyPatch):
    asked = created_with(client, monkeypatch)
    load(ServerStore(client, "products"), "b1", make_points(1))
    load(ServerStore(client, "products", shards=6, replicas=2), "b2", make_points(1))
    shares = [(a["shard_number"], a["replication_factor"]) for a in asked if "shard_number" in a]
    assert shares == [(None, None), (6, 2)]


def test_a_build_does_not_start_as_a_copy_on_a_server(client: QdrantClient):
    store = ServerStore(client, "products")
    load(store, "b1", make_points(1))
    assert not store.copies
    with pytest.raises(ValueError, match="copy of b1"):
        store.create(make_manifest("b2"), "b1")
