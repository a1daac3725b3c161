"""The engines that `index.py` compares: each makes an index of vectors and says what that took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from memory import processor_seconds
from qdrant_client import QdrantClient, models

from app.encoder import Vectors
from app.schema import Filters, Product
from app.store.base import Manifest, Point
from app.store.edge import EdgeStore
from app.store.files import bytes_on_disk

EDGES, CANDIDATES = 16, 100
"""Of a node of the graph above the lowest level, which has twice as many; looked at when built and searched."""
NEIGHBOURS, BATCH = 10, 256

Search = Callable[[np.ndarray, str | None], list[int]]
"""Rows nearest to a vector, among those that pass a filter (a key of the payload whose value is 0)."""


class Made(NamedTuple):
    """An index that was made: wall seconds of loading and of building the graph after it (None: it was built by
    loading, or there is none), processor seconds of both, bytes on the disk, and its search."""

    load: float
    graph: float | None
    cpu: float
    disk: int
    search: Search
    filters: bool = True


SHARES = {"tenth": 10, "hundredth": 100}
"""Every how many rows have the value 0 of a payload key."""


def payload(row: int) -> dict[str, str]:
    return {key: str(row % share) for key, share in SHARES.items()}


def product(row: int) -> Product:
    """A product with the texts of a usual catalog."""
    return Product(
        id=str(row),
        title=f"Walnut chair for the whole family, model {row % 99_991}",
        category=["Home", "Chairs", "Walnut"],
        attributes={key: [value] for key, value in payload(row).items()},
        numbers={"price": float(row % 5000)},
        url=f"https://shop.example.com/p/{row}",
    )


class Timer:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), processor_seconds()

    @property
    def wall(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        return processor_seconds() - self._cpu


def parts(vectors: Vectors) -> Iterator[tuple[range, Vectors]]:
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH]
        yield range(start, start + len(part)), part


def edge(vectors: Vectors, folder: Path) -> Made:
    store = EdgeStore(folder)
    manifest = Manifest(
        build="b1",
        created=datetime.now(UTC),
        model="mixture",
        fingerprint="mixture",
        dimensions=vectors.shape[1],
        catalog="",
        catalog_hash="",
        products=len(vectors),
        attribute_keys=list(SHARES),
        number_keys=["price"],
        mean_words=12,
    )
    timer = Timer()
    with store.create(manifest) as writer:
        for rows, part in parts(vectors):
            writer.add([Point(product(row), vector) for row, vector in zip(rows, part, strict=True)])
        load = timer.wall
        writer.finish(manifest)
    graph, cpu = timer.wall - load, timer.cpu
    index = store.open("b1")

    def search(query: np.ndarray, key: str | None) -> list[int]:
        filters = Filters(attributes={key: ["0"]} if key else {})
        return [int(hit.product.id) for hit in index.search(query, filters, NEIGHBOURS)]

    return Made(load, graph, cpu, bytes_on_disk(folder), search)


def local(vectors: Vectors, folder: Path) -> Made:
    client = QdrantClient(":memory:")
    distance = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("products", vectors_config=distance)
    timer = Timer()
    for rows, part in parts(vectors):
        points = [
            models.PointStruct(id=row, vector=vector.tolist(), payload=payload(row))
            for row, vector in zip(rows, part, strict=True)
        ]
        client.upsert("products", points)
    load, cpu = timer.wall, timer.cpu

    def search(query: np.ndarray, key: str | None) -> list[int]:
        wanted = (
            models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value="0"))]) if key else None
        )
        found = client.query_points("products", query, query_filter=wanted, limit=NEIGHBOURS, with_payload=False)
        return [int(hit.id) for hit in found.points]

    return Made(load, None, cpu, 0, search)


def faiss(vectors: Vectors, folder: Path) -> Made:
    import faiss as library

    index = library.IndexHNSWFlat(vectors.shape[1], EDGES, library.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = index.hnsw.efSearch = CANDIDATES
    timer = Timer()
    for _, part in parts(vectors):
        index.add(part)
    load, cpu = timer.wall, timer.cpu
    folder.mkdir()
    library.write_index(index, str(folder / "index"))

    def search(query: np.ndarray, key: str | None) -> list[int]:
        return index.search(query[None], NEIGHBOURS)[1][0].tolist()

    return Made(load, None, cpu, bytes_on_disk(folder), search, filters=False)


def usearch(vectors: Vectors, folder: Path) -> Made:
    from usearch.index import Index

    index = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=EDGES,
        expansion_add=CANDIDATES,
        expansion_search=CANDIDATES,
    )
    timer = Timer()
    for rows, part in parts(vectors):
        index.add(np.array(rows), part)
    load, cpu = timer.wall, timer.cpu
    folder.mkdir()
    index.save(str(folder / "index"))

    def search(query: np.ndarray, key: str | None) -> list[int]:
        return index.search(query, NEIGHBOURS, threads=1).keys.tolist()

    return Made(load, None, cpu, bytes_on_disk(folder), search, filters=False)


ENGINES: dict[str, Callable[[Any, Path], Made]] = {"edge": edge, "local": local, "faiss": faiss, "usearch": usearch}
