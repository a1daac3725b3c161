"""Load and search of an index: Qdrant Edge as MOON Search uses it, and beside it other engines on the same vectors.

    python benchmarks/index.py [--rows 100000] [--dimensions 576 256] [--engines edge local faiss usearch]

Prints two tables for each number of dimensions. The first: wall seconds of loading and of building the graph (faiss and
usearch build it while they load), processor seconds of both on all cores, vectors per wall second of both, the peak of
the memory beyond what Python and the vectors themselves took before, and what lies on the disk. The
second: latencies in milliseconds of the first ten neighbours and searches per second, for one client and for eight
threads at once, without a filter, with one that a tenth of the products pass and with one that a hundredth pass;
recall is that of these ten against exact search. Each cell asks up to 500 queries that are not in the index, one by
one, for at most ten seconds. Standard error says which engine is at work.

All graphs have 16 edges a node (32 on the lowest level) and look at 100 candidates when built and searched. Edge
compares vectors below 10 MB one by one. It returns whole products; of the others only ids are asked. ``local`` is
qdrant-client's local mode, in memory, which has no graph: leave it out above 100,000 rows. faiss and usearch
(`pip install faiss-cpu usearch`; not needed by MOON Search) have no filters and no payload.

The vectors are a mixture: one cluster for every 50 products, centres and members spread over 96 directions (or as many
as there are dimensions) of which each has less variance than the one before it (1 / rank), and noise in every
dimension, a tenth as long as the rest. The heading tells how many directions of equal variance that amounts to
(participation ratio of the covariance); pure noise, which no graph can order, has as many as dimensions.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from engines import ENGINES, NEIGHBOURS, SHARES, Search
from memory import Peak, memory

from app.encoder import Vectors

DIRECTIONS, CLUSTER, NOISE = 96, 50, 0.3
QUERIES, CLIENTS, SECONDS = 500, 8, 10.0
FILTERS = {"none": None, "a tenth": "tenth", "a hundredth": "hundredth"}
PACKAGES = {"edge": "qdrant-edge-py", "local": "qdrant-client", "faiss": "faiss-cpu", "usearch": "usearch"}


class Answers(NamedTuple):
    """Rows found for each query that there was time for, milliseconds that each took, and searches per second."""

    found: list[list[int]]
    taken: list[float]
    rate: float

    def percentiles(self) -> str:
        return " / ".join(f"{value:.1f}" for value in np.percentile(self.taken, [50, 95, 99]))

    def per_second(self) -> str:
        return f"{self.rate:,.0f}" if self.rate >= 10 else f"{self.rate:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[576, 256])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=[name for name in ENGINES if installed(name)])
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    arguments = parser.parse_args()
    packages = (f"{PACKAGES[engine]} {version(PACKAGES[engine])}" for engine in arguments.engines)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {', '.join(packages)}")
    for dimensions in arguments.dimensions:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            spread = write_vectors(Path(name), arguments.rows, dimensions)
            print(f"\n## {arguments.rows:,} vectors of {dimensions} dimensions, {spread:.0f} directions\n")
            rows = [measured(engine, Path(name)) for engine in arguments.engines]
            print("| engine | load | graph | both, CPU | vectors/s | memory | of it anonymous | disk |")
            print("| --- |" + " ---: |" * 7)
            print("\n".join(made for made, _ in rows))
            print(
                "\n| engine | filter | recall | 1 client: p50 / p95 / p99 | a second | 8: p50 / p95 / p99 | a second |"
            )
            print("| --- | --- |" + " ---: |" * 5)
            print("\n".join(searched for _, searched in rows), flush=True)


def write_vectors(folder: Path, rows: int, dimensions: int) -> float:
    """Writes vectors and queries to files; returns the participation ratio of the covariance of a sample."""
    vectors = mixture(rows + QUERIES, dimensions)
    np.save(folder / "vectors.npy", vectors[QUERIES:])
    np.save(folder / "queries.npy", vectors[:QUERIES])
    variances = np.linalg.eigvalsh(np.cov(vectors[:20_000].T))
    return float(variances.sum() ** 2 / (variances**2).sum())


def mixture(rows: int, dimensions: int) -> Vectors:
    """Unit vectors as the head of this file describes them."""
    rng = np.random.default_rng(0)
    ranks = np.arange(1, min(DIRECTIONS, dimensions) + 1, dtype=np.float32)
    basis = np.linalg.qr(rng.standard_normal((dimensions, len(ranks))))[0].T.astype(np.float32)
    centres = rng.standard_normal((rows // CLUSTER + 1, len(ranks)), dtype=np.float32)
    vectors = np.empty((rows, dimensions), np.float32)
    for start in range(0, rows, 50_000):
        part = vectors[start : start + 50_000]
        own = centres[rng.integers(len(centres), size=len(part))]
        latent = (own + 0.7 * rng.standard_normal(own.shape, dtype=np.float32)) * ranks**-0.5
        part[:] = latent @ basis + NOISE * rng.standard_normal(part.shape, dtype=np.float32) / np.sqrt(dimensions)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def measured(engine: str, folder: Path) -> tuple[str, str]:
    """Table rows of an engine, from a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (engine, folder))


def measure(engine: str, folder: Path) -> tuple[str, str]:
    vectors, queries = (np.load(folder / f"{name}.npy") for name in ("vectors", "queries"))
    resident, anonymous = memory()
    with Peak() as peak:
        made = ENGINES[engine](vectors, folder / engine)
    print(f"{engine}: loaded, asking", file=sys.stderr, flush=True)
    graph = "" if made.graph is None else f"{made.graph:.1f} s"
    rate = len(vectors) / (made.load + (made.graph or 0.0))
    table = (
        f"| {engine} | {made.load:.1f} s | {graph} | {made.cpu:.1f} s | {rate:,.0f} | "
        f"{peak.resident - resident:,.0f} MB | {peak.anonymous - anonymous:,.0f} MB | {made.disk / 1e6:,.0f} MB |"
    )
    lines = []
    for name, key in FILTERS.items() if made.filters else [("none", None)]:
        made.search(queries[0], key)
        alone, together = (answers(made.search, queries, key, clients) for clients in (1, CLIENTS))
        truth = exact(vectors, queries[: len(alone.found)], key)
        recall = np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(alone.found, truth, strict=True)])
        cells = (f"{many.percentiles()} | {many.per_second()}" for many in (alone, together))
        lines.append(f"| {engine} | {name} | {recall:.3f} | {' | '.join(cells)} |")
    print(f"{engine}: done", file=sys.stderr, flush=True)
    return table, "\n".join(lines)


def answers(search: Search, queries: Vectors, key: str | None, clients: int) -> Answers:
    """Ask the queries in their order, so many at once, until all are answered or ``SECONDS`` are over."""
    begin = time.perf_counter()

    def asked(query: np.ndarray) -> tuple[list[int], float] | None:
        start = time.perf_counter()
        if start - begin > SECONDS:
            return None
        return search(query, key), 1000 * (time.perf_counter() - start)

    with ThreadPoolExecutor(clients) as pool:
        answered = [answer for answer in pool.map(asked, queries) if answer]
    seconds = time.perf_counter() - begin
    return Answers([rows for rows, _ in answered], [taken for _, taken in answered], len(answered) / seconds)


def exact(vectors: Vectors, queries: Vectors, key: str | None) -> list[list[int]]:
    """The true neighbours among the rows that pass the filter."""
    passing = np.arange(len(vectors))[:: SHARES[key] if key else 1]
    rows, scores = [], []
    for part in np.array_split(passing, len(passing) // 50_000 + 1):
        likeness = queries @ vectors[part].T
        best = np.argsort(-likeness, axis=1)[:, :NEIGHBOURS]
        rows.append(part[best])
        scores.append(np.take_along_axis(likeness, best, axis=1))
    order = np.argsort(-np.concatenate(scores, axis=1), axis=1)[:, :NEIGHBOURS]
    return np.take_along_axis(np.concatenate(rows, axis=1), order, axis=1).tolist()


def installed(engine: str) -> bool:
    return engine in ("edge", "local") or importlib.util.find_spec(engine) is not None


if __name__ == "__main__":
    main()
