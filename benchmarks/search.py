"""Memory and speed of the evaluation's exact search, by default 400,000 queries x 400,000 items x 1,024 dimensions.

    python benchmarks/search.py [--rows 400000] [--dimensions 1024] [--k 500] [--chunks 2] [--dtype float32]

Both arrays are resident and so are the results of the whole search; only the first chunks of queries are searched. The
time of the whole search is extrapolated from them.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.evaluation.search import QUERY_CHUNK, top_k

FILL_ROWS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--dimensions", type=int, default=1_024)
    parser.add_argument("--k", type=int, default=500)
    parser.add_argument("--chunks", type=int, default=2, help="chunks of queries that are searched")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, k, device = arguments.rows, arguments.k, arguments.device
    print(f"{platform.machine()}, {device}, {arguments.threads} threads, torch {torch.__version__}, {arguments.dtype}")
    queries, gallery = (unit_vectors(seed, rows, arguments.dimensions, arguments.dtype) for seed in (0, 1))
    results = np.ones((rows, k), dtype=np.int64), np.ones((rows, k), dtype=np.float32)
    print(f"two arrays of {rows:,} x {arguments.dimensions:,} and results for k={k} resident: {peak_gb():.2f} GB")
    searched = min(arguments.chunks * QUERY_CHUNK, rows)
    started = time.perf_counter()
    results[0][:searched], results[1][:searched] = top_k(queries[:searched], gallery, k, device=device)
    seconds = time.perf_counter() - started
    rate = searched / seconds
    tera = 2e-12 * rate * rows * arguments.dimensions
    print(f"{searched:,} queries searched: {seconds:.1f} s, {rate:.0f} queries/s, {tera:.3f} TFLOP/s")
    print(f"peak memory: {peak_gb():.2f} GB")
    print(f"all {rows:,} queries (extrapolated, not measured): {rows / rate / 60:.0f} min")


def unit_vectors(seed: int, rows: int, dimensions: int, dtype: str) -> NDArray[np.float32]:
    vectors = np.empty((rows, dimensions), dtype=dtype)
    rng = np.random.default_rng(seed)
    for start in range(0, rows, FILL_ROWS):
        part = rng.standard_normal((min(FILL_ROWS, rows - start), dimensions), dtype=np.float32)
        vectors[start : start + FILL_ROWS] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
