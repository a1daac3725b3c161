"""Every store engine that this machine has."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient
from store_samples import load, make_points

from app.store.base import Index, Store
from app.store.edge import EdgeStore
from app.store.server import ServerStore

ENGINES = ["edge", "memory", *(["server"] if os.environ.get("QDRANT_URL") else [])]


def open_engine(engine: str, folder: Path) -> Iterator[Store]:
    if engine == "edge":
        yield EdgeStore(folder / "builds")
        return
    name = f"test-{uuid.uuid4().hex}"
    warnings.filterwarnings("ignore", message="Payload indexes have no effect|Local mode performs exact")
    client = QdrantClient(":memory:") if engine == "memory" else QdrantClient(url=os.environ["QDRANT_URL"])
    yield ServerStore(client, name)
    for collection in client.get_collections().collections:
        if collection.name.startswith(name):
            client.delete_collection(collection.name)
    client.close()


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, once per engine."""
    yield from open_engine(request.param, tmp_path)


@pytest.fixture(scope="module", params=ENGINES)
def module_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store for all tests of a module, once per engine."""
    yield from open_engine(request.param, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session", params=ENGINES)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """A published build of ``make_points()``, opened once per engine for tests that only read."""
    for store in open_engine(request.param, tmp_path_factory.mktemp("index")):
        load(store, "b1", make_points())
        store.publish("b1")
        index = store.open("b1")
        yield index
        index.close()
