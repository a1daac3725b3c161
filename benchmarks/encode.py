"""How fast the configured model embeds: queries one by one, products in batches, and the tower folded or not.

    python benchmarks/encode.py [--repeat 20] [--threads 2]

Prints medians of this machine; the ratio of the last column compares with the first row of its block in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch
from PIL import Image

from app.moon import load_encoder
from app.moon.load import load_module
from app.schema import Product, Query
from app.settings import ROOT, Settings

DEMO = ROOT / "demo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = Settings()
    print(f"{settings.model}, {platform.machine()}, {arguments.threads} threads, torch {torch.__version__}")
    queries(settings, arguments.repeat)
    products(settings)
    tower(settings, arguments.repeat)


def queries(settings: Settings, repeat: int) -> None:
    encoder = load_encoder(settings)
    photo = Image.open(next((DEMO / "photos").glob("*.webp"))).convert("RGB")
    table(
        "one query (milliseconds)",
        {
            "text": lambda: encoder.embed_queries([Query(text="red armchair")]),
            "photo with its box": lambda: encoder.embed_queries([Query(image=photo, box=(60.0, 60.0, 260.0, 260.0))]),
            "photo, box detected": lambda: encoder.embed_queries([Query(image=photo)]),
            "photo and text": lambda: encoder.embed_queries([Query(image=photo, text="in blue")]),
        },
        repeat,
    )


def products(settings: Settings, batch: int = 32) -> None:
    encoder = load_encoder(settings)
    rows = pl.read_parquet(DEMO / "catalog.parquet").head(batch).iter_rows(named=True)
    items = [(Product(id=r["id"], title=r["title"], category=r["category"]), _pictures(r["images"])) for r in rows]

    def embed(size: int) -> Callable[[], object]:
        def run() -> None:
            for start in range(0, batch, size):
                part = items[start : start + size]
                encoder.embed_products([p for p, _ in part], [images for _, images in part])

        return run

    table(f"{batch} products of two pictures (milliseconds)", {f"batches of {n}": embed(n) for n in (1, 8, 32)}, 3)


def tower(settings: Settings, repeat: int) -> None:
    pixels = torch.rand(8, 3, 224, 224) * 2 - 1
    plain, folded = (load_module(settings.model, torch.float32).model.vision_tower for _ in range(2))
    folded.fold()
    with torch.inference_mode():
        table(
            "vision tower, 8 pictures (milliseconds)",
            {
                "as trained": lambda: plain(pixels),
                "BatchNorm folded": lambda: folded(pixels),
            },
            repeat,
        )


def table(title: str, rows: dict[str, Callable[[], object]], repeat: int) -> None:
    """Median and 95th percentile of each row, measured in turn so that the machine's drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for run in rows.values():
        run()
    for _ in range(repeat):
        for name, run in rows.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1000)
    first = statistics.median(next(iter(times.values())))
    print(f"\n{title:44} {'median':>8} {'p95':>8} {'ratio':>6}")
    for name, values in times.items():
        median = statistics.median(values)
        p95 = sorted(values)[min(len(values) - 1, round(0.95 * len(values)))]
        print(f"  {name:42} {median:8.1f} {p95:8.1f} {median / first:6.2f}")


def _pictures(paths: list[str]) -> list[Image.Image]:
    return [Image.open(Path(DEMO, path)).convert("RGB") for path in paths]


if __name__ == "__main__":
    main()
