"""A rebuild end to end with the real model: seconds per stage, and what is spent outside the encoder.

    python benchmarks/rebuild.py [--products 20000] [--model models/moon-starter] [--side 320]

Without `--products` the demo catalog as it is. With it, a catalog of so many products made from the demo's: other ids,
titles of other colours with a number, and pictures that are cropped, mirrored, of other colours and `--side` pixels,
written as JPEG and WebP in turn, so that no content hash repeats and every picture has to be decoded. The catalog is
rebuilt into a temporary `MOON_DATA`, then once more with other titles of one product in a hundred, each time by a
process of its own. Making the catalog is not part of the time. `decode` is what the encoder waited for pictures; the
processor time of the threads that prepared them is told apart, because they take cores from an encoder on the CPU.

The last table is what a product takes on disk, see `footprint.py`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import random
import re
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from footprint import footprint, table
from memory import Peak
from PIL import Image, ImageOps

from app.settings import ROOT, Settings
from app.store import open_store
from indexer.progress import show_progress
from indexer.rebuild import Model, Outcome, rebuild

DEMO = ROOT / "demo"
COLUMNS = ["id", "group_id", "title", "titles", "category", "attributes", "width_cm", "depth_cm", "height_cm"]
CREDITS = ["licence", "licence_url", "creator", "attribution"]
MAX_CROP, GAINS = 0.15, (0.7, 1.0)
CHANGED_EVERY = 100
SPAWN = multiprocessing.get_context("spawn")


class Run(NamedTuple):
    """A rebuild, its wall seconds, and the peak of the resident memory in MB."""

    outcome: Outcome
    seconds: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, help="size of the catalog that is made from the demo's")
    parser.add_argument("--model", default=Settings.model_fields["model"].default)
    parser.add_argument("--side", type=int, default=320, help="longer side of the pictures that are made")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        settings = Settings(_env_file=None, data=folder / "data", model=arguments.model, store="edge")  # type: ignore[call-arg]
        demo = pl.read_parquet(DEMO / "catalog.parquet")
        products = enlarged(demo, arguments.products, arguments.side, folder) if arguments.products else in_place(demo)
        retitled = pl.when(pl.int_range(pl.len()) % CHANGED_EVERY == 0).then(pl.col("title") + " (new)")
        changed = products.with_columns(retitled.otherwise("title").alias("title"))
        new = measured(products, folder, settings)
        sizes = table(*footprint(settings.data))
        few = measured(changed, folder, settings)
        print(f"{platform.machine()}, {os.cpu_count()} cores, {settings.model}, {len(products):,} products\n")
        print(f"{stages(new, few)}\n\n{sizes}")


def measured(products: pl.DataFrame, folder: Path, settings: Settings) -> Run:
    products.write_parquet(folder / "catalog.parquet")
    with SPAWN.Pool(1) as pool:
        return pool.apply(measure, (folder / "catalog.parquet", settings))


def measure(catalog: Path, settings: Settings) -> Run:
    from app.moon import load_encoder, model_fingerprint, model_name

    fingerprint = model_fingerprint(settings.model, settings)
    model = Model(model_name(settings.model), fingerprint, lambda: load_encoder(settings))
    start = time.perf_counter()
    with Peak() as peak:
        outcome = rebuild(catalog, settings, open_store(settings), model, show_progress)
    return Run(outcome, time.perf_counter() - start, peak.resident)


def stages(new: Run, changed: Run) -> str:
    """A table of seconds and shares by stage, for a rebuild of everything and one of few changes."""
    spent = [run.outcome.clock.seconds for run in (new, changed)]
    rows = ["| | all new | share | 1 % with new titles | share |", "| --- |" + " ---: |" * 4]
    for stage in dict.fromkeys([*spent[0], *spent[1]]):
        rows.append(_shares(stage, [seconds.get(stage, 0.0) for seconds in spent], new, changed))
    rest = [run.seconds - sum(seconds.values()) for run, seconds in zip((new, changed), spent, strict=True)]
    outside = [run.seconds - run.outcome.clock.seconds.get("encode", 0.0) for run in (new, changed)]
    rows.append(_shares("between the stages", rest, new, changed))
    rows.append(_shares("**outside the encoder**", outside, new, changed))
    rows.append(_shares("together", [new.seconds, changed.seconds], new, changed))
    figures = {
        "preparing pictures, processor time beside": [f"{run.outcome.clock.beside:.1f} s" for run in (new, changed)],
        "products embedded": [f"{run.outcome.embedded:,}" for run in (new, changed)],
        "embedded a second": [f"{run.outcome.embedded / run.seconds:.1f}" for run in (new, changed)],
        "recall of the build": [f"{run.outcome.recall:.3f}" for run in (new, changed)],
        "peak memory": [f"{run.memory / 1000:.2f} GB" for run in (new, changed)],
    }
    return "\n".join(rows + [f"| {name} | {first} | | {second} | |" for name, (first, second) in figures.items()])


def _shares(name: str, seconds: list[float], *runs: Run) -> str:
    cells = (f"{taken:.1f} s | {100 * taken / run.seconds:.1f} %" for taken, run in zip(seconds, runs, strict=True))
    return f"| {name} | {' | '.join(cells)} |"


def in_place(demo: pl.DataFrame) -> pl.DataFrame:
    """The demo catalog with the pictures where they are."""
    return demo.select(
        *COLUMNS, *CREDITS, pl.col("images").list.eval(pl.format("{}/{}", pl.lit(str(DEMO)), pl.element()))
    )


def enlarged(demo: pl.DataFrame, products: int, side: int, folder: Path) -> pl.DataFrame:
    """``products`` like those of ``demo``, but none like another; their pictures are written to ``folder``."""
    (folder / "images").mkdir()
    rows = demo.select(*COLUMNS, *CREDITS, "images").to_dicts()
    colours = sorted({colour for row in rows for colour in row["attributes"]["color"]})
    with show_progress("Making the catalog", products) as advance, ProcessPoolExecutor(mp_context=SPAWN) as pool:
        made = []
        jobs = ((rows[number % len(rows)], number, colours, side, folder) for number in range(products))
        for row in pool.map(_variant, jobs, chunksize=32):
            made.append(row)
            advance(1)
    return pl.DataFrame(made, schema={name: demo.schema[name] for name in rows[0]})


def _variant(job: tuple[dict[str, Any], int, list[str], int, Path]) -> dict[str, Any]:
    row, number, colours, side, folder = job
    rng = random.Random(number)  # noqa: S311
    colour = rng.choice(colours)
    old = "|".join(map(re.escape, row["attributes"]["color"])) or "$"
    title = re.sub(rf"^({old})\b", colour.capitalize(), row["title"], flags=re.IGNORECASE)
    images = []
    for place, name in enumerate(row["images"]):
        file = Path("images", f"{number}_{place}.{'webp' if number % 2 else 'jpg'}")
        _redrawn(DEMO / name, rng, side).save(folder / file)
        images.append(str(file))
    return row | {
        "id": f"{row['id']}-{number}",
        "group_id": f"{row['group_id']}-{number // 4}",
        "title": f"{title} {number}",
        "attributes": row["attributes"] | {"color": [colour]},
        "images": images,
    }


def _redrawn(picture: Path, rng: random.Random, side: int) -> Image.Image:
    """A picture cropped, mirrored or not, with other shares of red, green and blue."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    left, top, right, bottom = (rng.uniform(0, MAX_CROP) for _ in range(4))
    box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
    scale = side / max(image.size)
    size = round(scale * image.width), round(scale * image.height)
    image = image.resize(size, Image.Resampling.BICUBIC, box)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    lookup = [round(value * gain) for gain in (rng.uniform(*GAINS) for _ in range(3)) for value in range(256)]
    return image.point(lookup)


if __name__ == "__main__":
    main()
