"""Load and search of an index: Qdrant Edge as MOON Search uses it, and beside it other engines on the same vectors.

    python benchmarks/index.py [--rows 100000] [--dimensions 576 256] [--engines edge local faiss usearch]

Prints two tables for each number of dimensions: what making the index takes, and latencies in milliseconds of the
first ten neighbours, for one client and for eight at once, without a filter, with one that a tenth of the products
pass and with one that a hundredth pass. Recall is that of the first ten neighbours against exact search. ``local`` is
qdrant-client's local mode; faiss and usearch (`pip install faiss-cpu usearch`) have no filters and no payload.

The vectors are a mixture: one cluster for every 50 products, centres and members spread over 96 directions of which
each has less variance than the one before it (1 / rank), and noise in every dimension, a tenth as long as the rest.
The heading tells how many directions of equal variance that amounts to (participation ratio of the covariance); pure
noise, which no graph can order, has as many as dimensions.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from memory import Peak
from qdrant_client import QdrantClient, models

from app.encoder import Vectors
from app.schema import Filters, Product
from app.store.base import Manifest, Point
from app.store.edge import EdgeStore
from app.store.files import bytes_on_disk

DIRECTIONS, CLUSTER, NOISE = 96, 50, 0.3
QUERIES, NEIGHBOURS, CLIENTS, BATCH = 500, 10, 8, 256
FILTERS = {"none": None, "a tenth": "tenth", "a hundredth": "hundredth"}

Search = Callable[[np.ndarray, str | None], list[int]]
"""Rows nearest to a vector, among those that pass a filter (a key of the payload whose value is 0)."""


class Made(NamedTuple):
    """An index that was made: CPU and wall seconds of loading and of building the graph, bytes, and its search."""

    load: tuple[float, float]
    graph: tuple[float, float]
    disk: int
    search: Search
    filters: bool = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[576, 256])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=[name for name in ENGINES if installed(name)])
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    arguments = parser.parse_args()
    for dimensions in arguments.dimensions:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            vectors = mixture(arguments.rows + QUERIES, dimensions)
            np.save(folder / "vectors.npy", vectors[QUERIES:])
            np.save(folder / "queries.npy", vectors[:QUERIES])
            print(f"\n## {arguments.rows:,} vectors of {dimensions} dimensions, {directions(vectors):.0f} directions\n")
            rows = [measured(engine, folder) for engine in arguments.engines]
            print("| engine | load | vectors/s | graph | graph CPU | peak memory | of it anonymous | disk |")
            print("| --- |" + " ---: |" * 7)
            print("\n".join(made for made, _ in rows))
            print("\n| engine | filter | recall | 1 client p50 / p95 / p99 | 8 clients p50 / p95 / p99 | searches/s |")
            print("| --- | --- |" + " ---: |" * 4)
            print("\n".join(searched for _, searched in rows), flush=True)


def mixture(rows: int, dimensions: int) -> Vectors:
    """Unit vectors as the head of this file describes them."""
    rng = np.random.default_rng(0)
    scales = np.arange(1, DIRECTIONS + 1, dtype=np.float32) ** -0.5
    basis = np.linalg.qr(rng.standard_normal((dimensions, DIRECTIONS)))[0].T.astype(np.float32)
    centres = rng.standard_normal((rows // CLUSTER + 1, DIRECTIONS), dtype=np.float32)
    vectors = np.empty((rows, dimensions), np.float32)
    for start in range(0, rows, 50_000):
        part = vectors[start : start + 50_000]
        own = centres[rng.integers(len(centres), size=len(part))]
        latent = (own + 0.7 * rng.standard_normal(own.shape, dtype=np.float32)) * scales
        part[:] = latent @ basis + NOISE * rng.standard_normal(part.shape, dtype=np.float32) / np.sqrt(dimensions)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def directions(vectors: Vectors) -> float:
    """Participation ratio of the covariance of a sample."""
    variances = np.linalg.eigvalsh(np.cov(vectors[:20_000].T))
    return float(variances.sum() ** 2 / (variances**2).sum())


def measured(engine: str, folder: Path) -> tuple[str, str]:
    """Table rows of an engine, from a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (engine, folder))


def measure(engine: str, folder: Path) -> tuple[str, str]:
    vectors, queries = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("vectors", "queries"))
    with Peak() as peak:
        made = ENGINES[engine](vectors, folder / engine)
    (load, _), (graph, graph_cpu) = made.load, made.graph
    table = (
        f"| {engine} | {load:.1f} s | {len(vectors) / load:,.0f} | {graph:.1f} s | {graph_cpu:.1f} s | "
        f"{peak.resident / 1000:.2f} GB | {peak.anonymous / 1000:.2f} GB | {made.disk / 1e6:,.0f} MB |"
    )
    lines = []
    for name, key in FILTERS.items() if made.filters else [("none", None)]:
        truth = exact(vectors, queries, key)
        found = [made.search(query, key) for query in queries]
        recall = np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, truth, strict=True)])
        alone, _ = latencies(made.search, queries, key, 1)
        together, rate = latencies(made.search, queries, key, CLIENTS)
        lines.append(
            f"| {engine} | {name} | {recall:.3f} | {percentiles(alone)} | {percentiles(together)} | {rate:,.0f} |"
        )
    return table, "\n".join(lines)


def latencies(search: Search, queries: Vectors, key: str | None, clients: int) -> tuple[list[float], float]:
    """Milliseconds of every search, and searches a second of all clients together."""

    def timed(query: np.ndarray) -> float:
        start = time.perf_counter()
        search(query, key)
        return 1000 * (time.perf_counter() - start)

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken = list(pool.map(timed, queries))
    return taken, len(queries) / (time.perf_counter() - start)


def percentiles(taken: list[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in np.percentile(taken, [50, 95, 99]))


def exact(vectors: Vectors, queries: Vectors, key: str | None) -> list[list[int]]:
    """The true neighbours among the rows that pass the filter."""
    passing = np.arange(len(vectors))[:: SHARES[key] if key else 1]
    scores = np.concatenate(
        [queries @ vectors[part].T for part in np.array_split(passing, len(passing) // 50_000 + 1)], 1
    )
    return passing[np.argsort(-scores, axis=1)[:, :NEIGHBOURS]].tolist()


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
    """Wall and CPU seconds since the last look."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def look(self) -> tuple[float, float]:
        wall, cpu = self._wall, self._cpu
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self._wall - wall, self._cpu - cpu


def parts(vectors: Vectors) -> Iterator[tuple[range, Vectors]]:
    for start in range(0, len(vectors), BATCH):
        part = np.array(vectors[start : start + BATCH])
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
        load = timer.look()
        writer.finish(manifest)
    graph = timer.look()
    index = store.open("b1")

    def search(query: np.ndarray, key: str | None) -> list[int]:
        filters = Filters(attributes={key: ["0"]} if key else {})
        return [int(hit.product.id) for hit in index.search(query, filters, NEIGHBOURS)]

    return Made(load, graph, bytes_on_disk(folder), search)


def local(vectors: Vectors, folder: Path) -> Made:
    client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
    distance = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("products", vectors_config=distance)
    timer = Timer()
    for rows, part in parts(vectors):
        points = [
            models.PointStruct(id=row, vector=vector.tolist(), payload=payload(row))
            for row, vector in zip(rows, part, strict=True)
        ]
        client.upsert("products", points)
    load = timer.look()

    def search(query: np.ndarray, key: str | None) -> list[int]:
        wanted = (
            models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value="0"))]) if key else None
        )
        return [int(hit.id) for hit in client.query_points("products", query, query_filter=wanted).points]

    return Made(load, (0.0, 0.0), bytes_on_disk(folder), search)


def faiss(vectors: Vectors, folder: Path) -> Made:
    import faiss as library

    index = library.IndexHNSWFlat(vectors.shape[1], 16, library.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 100, 100
    timer = Timer()
    for _, part in parts(vectors):
        index.add(part)
    graph = timer.look()
    folder.mkdir()
    library.write_index(index, str(folder / "index"))

    def search(query: np.ndarray, key: str | None) -> list[int]:
        return index.search(query[None], NEIGHBOURS)[1][0].tolist()

    return Made(graph, graph, bytes_on_disk(folder), search, filters=False)


def usearch(vectors: Vectors, folder: Path) -> Made:
    from usearch.index import Index

    index = Index(
        ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=100, expansion_search=100
    )
    timer = Timer()
    for rows, part in parts(vectors):
        index.add(np.array(rows), part)
    graph = timer.look()
    folder.mkdir()
    index.save(str(folder / "index"))

    def search(query: np.ndarray, key: str | None) -> list[int]:
        return index.search(query, NEIGHBOURS).keys.tolist()

    return Made(graph, graph, bytes_on_disk(folder), search, filters=False)


ENGINES: dict[str, Callable[[Any, Path], Made]] = {"edge": edge, "local": local, "faiss": faiss, "usearch": usearch}


def installed(engine: str) -> bool:
    return engine in ("edge", "local") or importlib.util.find_spec(engine) is not None


if __name__ == "__main__":
    main()
