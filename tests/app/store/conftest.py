"""A small catalog with random vectors, and every store engine that this machine has."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from app.schema import Product
from app.store.base import Index, Manifest, Point, Store
from app.store.edge import EdgeStore
from app.store.server import ServerStore

DIMENSIONS = 16
ENGINES = ["edge", "memory", *(["server"] if os.environ.get("QDRANT_URL") else [])]


def make_manifest(build: str = "b1", **changes: object) -> Manifest:
    manifest = Manifest(
        build=build,
        created=datetime.now(UTC),
        model="colour-words",
        fingerprint="colour-words-1",
        dimensions=DIMENSIONS,
        catalog="catalog.csv",
        catalog_hash="0",
        attribute_keys=["color", "material", "size [cm]. <b>é"],
        number_keys=["price", "width.cm"],
    )
    return manifest.model_copy(update=changes)


def make_points(count: int = 60, seed: int = 0) -> list[Point]:
    """Sofas and chairs and lamps; every third is red, every second red or blue; prices count upwards."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    categories = [["Furniture", "Sofas"], ["Furniture", "Chairs"], ["Lighting"]]
    return [
        Point(
            Product(
                id=f"sku/{i}",
                title=f"Product {i}",
                category=categories[i % 3],
                attributes={
                    "color": ["red", "blue"] if i % 6 == 0 else ["red"] if i % 3 == 0 else ["blue"],
                    "material": ["oak" if i % 2 else "steel"],
                    "size [cm]. <b>é": [str(i % 4)],
                },
                numbers={"price": float(i), "width.cm": i / 2},
            ),
            vectors[i],
        )
        for i in range(count)
    ]


def load(store: Store, build: str, points: Sequence[Point], **changes: object) -> Manifest:
    """A finished build with these points."""
    manifest = make_manifest(build, products=len(points), **changes)
    with store.create(manifest) as writer:
        writer.add(points)
        writer.finish(manifest)
    return manifest


def open_engine(engine: str, folder: Path) -> Iterator[Store]:
    if engine == "edge":
        yield EdgeStore(folder / "builds")
        return
    name = f"test-{uuid.uuid4().hex}"
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


@pytest.fixture(scope="session", params=ENGINES)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """A published build of ``make_points()``, opened once per engine for tests that only read."""
    for store in open_engine(request.param, tmp_path_factory.mktemp("index")):
        load(store, "b1", make_points())
        store.publish("b1")
        index = store.open("b1")
        yield index
        index.close()
