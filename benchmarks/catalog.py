"""What a rebuild costs besides the model: time per stage and the peak of the memory, on a catalog without pictures.

    python benchmarks/catalog.py [--rows 1000000] [--form csv]

Writes a catalog to a temporary folder, rebuilds it with an encoder that only makes random vectors, then once more with
other titles for every hundredth product and once more with other prices for all, and prints a table: seconds per stage,
processor time of all threads and processes, both outside the encoder, and the peak of their resident memory and of its
anonymous part, which is what cannot be given back to the disk. ``--runs`` leaves later ones out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from memory import Peak, processor_seconds
from PIL.Image import Image

from app.encoder import Vectors
from app.schema import Product
from app.settings import Settings
from app.store import open_store
from indexer.rebuild import Model, Outcome, rebuild

THINGS = ("chair", "table", "lamp", "dress", "kettle", "bag", "shoe", "phone case", "curtain", "sofa")
STUFFS = ("oak", "steel", "linen", "glass", "cotton", "walnut", "velvet", "marble")
COLOURS = ("red", "green", "blue", "black", "white", "orange", "grey")
BATCH = 50_000


LATENT = 12


class RandomEncoder:
    """Unit vectors at random, near a subspace of few dimensions as those of a model are; and the time it took."""

    name = fingerprint = "random"

    def __init__(self, dimensions: int, max_tokens: int) -> None:
        self.dimensions, self.max_tokens = dimensions, max_tokens
        self.seconds = 0.0
        self._rng = np.random.default_rng(0)
        self._mix = self._rng.standard_normal((LATENT, dimensions), dtype=np.float32)

    def tokens(self, product: Product, images: Sequence[Image]) -> int:
        return 1

    def embed_products(self, products: Sequence[Product], images: Sequence[Sequence[Image]]) -> Vectors:
        start = time.perf_counter()
        vectors = self._rng.standard_normal((len(products), LATENT), dtype=np.float32) @ self._mix
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.seconds += time.perf_counter() - start
        return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--form", choices=("csv", "jsonl", "parquet"), default="csv")
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--batch", type=int, default=512, help="products embedded together")
    parser.add_argument("--runs", type=int, choices=range(1, 4), default=3)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        settings = Settings(_env_file=None, data=Path(name) / "data")  # type: ignore[call-arg]
        encoder = RandomEncoder(arguments.dimensions, arguments.batch)
        model = Model(encoder.name, encoder.fingerprint, lambda: encoder)
        print(f"{arguments.rows:,} rows of {arguments.form}, {arguments.dimensions} dimensions")
        print(
            "| run | embedded | "
            + " | ".join(STAGES)
            + " | outside the encoder | of it computing | peak memory | of it anonymous |"
        )
        print("| --- |" + " ---: |" * (len(STAGES) + 5))
        for run in RUNS[: arguments.runs]:
            catalog = Path(name) / f"catalog.{arguments.form}"
            work = (catalog, arguments.rows, run)
            writer = multiprocessing.get_context("spawn").Process(target=write_catalog, args=work)
            writer.start()
            writer.join()
            encoder.seconds, start, busy = 0.0, time.perf_counter(), processor_seconds()
            with Peak() as peak:
                outcome = rebuild(catalog, settings, open_store(settings), model)
                wall, busy = time.perf_counter() - start, processor_seconds() - busy
            wall, busy = wall - encoder.seconds, busy - encoder.seconds
            print(row(run, outcome, wall, busy, peak), flush=True)


ALL_NEW, NEW_TITLES, NEW_PRICES = RUNS = ("all new", "1 % new titles", "new prices")
STAGES = ("read", "decode", "write", "compare", "load", "optimise", "verify")


def row(run: str, outcome: Outcome, seconds: float, busy: float, peak: Peak) -> str:
    """One line of the table."""
    stages = " | ".join(f"{outcome.clock.seconds.get(stage, 0.0):.1f} s" for stage in STAGES)
    memory = f"{peak.resident / 1000:.2f} GB | {peak.anonymous / 1000:.2f} GB"
    return f"| {run} | {outcome.embedded:,} | {stages} | {seconds:.1f} s | {busy:.1f} s | {memory} |"


def write_catalog(file: Path, rows: int, run: str = ALL_NEW) -> None:
    """A catalog of ``rows`` products with the columns of a usual export, as it is before one of ``RUNS``."""
    rng, parts = random.Random(0), []  # noqa: S311
    for start in range(0, rows, BATCH):
        table = pl.DataFrame([cells(number, rng) for number in range(start, min(start + BATCH, rows))])
        if run == NEW_PRICES:
            table = table.with_columns(price=pl.lit("1.299,00 €"))
        elif run == NEW_TITLES:
            changed = pl.int_range(pl.len()) % 100 == 0
            table = table.with_columns(title=pl.when(changed).then("New " + pl.col("title")).otherwise("title"))
        parts.append(table)
    table = pl.concat(parts)
    {".csv": table.write_csv, ".jsonl": table.write_ndjson, ".parquet": table.write_parquet}[file.suffix](file)


def cells(number: int, rng: random.Random) -> dict[str, str]:
    thing, stuff, colour = rng.choice(THINGS), rng.choice(STUFFS), rng.choice(COLOURS)
    return {
        "id": f"sku-{number}",
        "title": f"{stuff.title()} {thing} for the whole family, model {number % 99_991}",
        "category": f"Home > {thing.title()}s > {stuff.title()}",
        "group_id": f"group-{number // 4}",
        "attr_color": f"{colour} | white",
        "attr_material": stuff,
        "attr_brand": f"maker {number % 997}",
        "price": f"{number % 5000},90 €",
        "width_cm": str(number % 240),
        "url": f"https://shop.example.com/p/{number}",
    }


if __name__ == "__main__":
    main()
