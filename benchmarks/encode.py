"""How fast the configured model embeds on a CPU: queries one by one, products in batches, and where the time goes.

    python benchmarks/encode.py [--repeat 20] [--threads 2]

Prints medians and quartiles of this machine, wall clock and processor time; the latter says more where other programs
run. Ratios compare with the first row of their block in the same run, whose rows are measured in turn.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.moon import load_encoder  # before torch is loaded: it says how torch's threads wait

# isort: split

import numpy as np
import polars as pl
import torch
from PIL import Image

from app.images import decode_image
from app.moon.embedder import MoonEmbedder
from app.moon.fast_decoder import FastDecoder
from app.moon.fast_tower import FastTower
from app.moon.load import load_module
from app.moon.prompt import model_input, product_text, query_text
from app.schema import Product, Query
from app.settings import ROOT, Settings

DEMO = ROOT / "demo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = Settings(device="cpu")
    started = time.perf_counter(), time.process_time()
    encoder = load_encoder(settings)
    wall, processor = time.perf_counter() - started[0], time.process_time() - started[1]
    model = encoder.module.model
    fast = {"tower": model.vision_tower._look is not None, "decoder": isinstance(model.get_decoder(), FastDecoder)}
    engines = ", ".join(f"{part} by {'OpenVINO' if compiled else 'torch'}" for part, compiled in fast.items())
    print(
        f"{settings.model}, {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{engines}, loaded in {wall:.1f} s ({processor:.1f} s of processor)"
    )
    queries(encoder, arguments.repeat)
    products(encoder, max(3, arguments.repeat // 5))
    tower(settings, arguments.repeat)
    decoder(settings, arguments.repeat)
    stages(encoder, arguments.repeat)


def queries(encoder: MoonEmbedder, repeat: int) -> None:
    data = next((DEMO / "photos").glob("*.webp")).read_bytes()
    photo = _decoded(data)
    table(
        "one query (milliseconds)",
        {
            "text": lambda: encoder.embed_queries([Query(text="red armchair")]),
            "photo with its box": lambda: encoder.embed_queries([Query(image=photo, box=(60.0, 60.0, 260.0, 260.0))]),
            "photo, box detected": lambda: encoder.embed_queries([Query(image=photo)]),
            "photo and text": lambda: encoder.embed_queries([Query(image=photo, text="in blue")]),
            "decoding the photo": lambda: _decoded(data),
        },
        repeat,
    )


def products(encoder: MoonEmbedder, repeat: int, batch: int = 32) -> None:
    items = _products(batch)

    def embed(size: int) -> Callable[[], object]:
        def run() -> None:
            for start in range(0, batch, size):
                part = items[start : start + size]
                encoder.embed_products([p for p, _ in part], [images for _, images in part])

        return run

    rows = {f"batches of {n}": embed(n) for n in (1, 8, 32)}
    medians = table(f"{batch} products of two pictures (milliseconds)", rows, repeat)
    print("  " + ", ".join(f"{name}: {1000 * batch / median:.1f} products/s" for name, median in medians.items()))


def tower(settings: Settings, repeat: int) -> None:
    """The vision tower by itself, for one picture and for four."""
    plain, folded, fast = (load_module(settings.model, torch.float32).model.vision_tower for _ in range(3))
    folded.fold()
    FastTower.of(fast)
    for count in (1, 4):
        pixels = torch.rand(count, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
        rows = {"as trained": plain, "BatchNorm folded": folded, "as served": fast}
        with torch.inference_mode():
            table(
                f"vision tower, {count} pictures (milliseconds)",
                {name: lambda model=model, pixels=pixels: model.look(pixels) for name, model in rows.items()},
                repeat,
            )


def decoder(settings: Settings, repeat: int) -> None:
    """The token encoder by itself, for words and for products without their pictures."""
    plain, fast = (load_module(settings.model, torch.float32) for _ in range(2))
    FastDecoder.of(fast.model.get_decoder(), fast.moon)
    products = [model_input([], product_text(product)) for product, _ in _products(4)]
    for name, inputs in (("a text query", [model_input([], query_text("red armchair"))]), ("4 products", products)):
        batch = plain.tokens(inputs)
        rows = {"as trained": plain, "as served": fast}
        with torch.inference_mode():
            table(
                f"token encoder, {name} (milliseconds)",
                {row: lambda module=module, batch=batch: module(dict(batch)) for row, module in rows.items()},
                repeat,
            )


def stages(encoder: MoonEmbedder, repeat: int) -> None:
    """Where a photo query and the products of one batch spend their time."""
    photo = _decoded(next((DEMO / "photos").glob("*.webp")).read_bytes())
    items = _products(32)
    jobs: dict[str, tuple[Callable[[], object], int]] = {
        "a text query": (lambda: encoder.embed_queries([Query(text="red armchair")]), repeat),
        "a photo query": (lambda: encoder.embed_queries([Query(image=photo)]), repeat),
        "32 products": (lambda: encoder.embed_products([p for p, _ in items], [i for _, i in items]), 3),
    }
    watch = Stopwatch(encoder)
    for name, (run, times) in jobs.items():
        run()
        watch.spent.clear()
        for _ in range(times):
            with watch.stage("rest"):
                run()
        total = sum(watch.spent.values())
        parts = (f"{stage} {1000 * spent / times:.1f} ({spent / total:.0%})" for stage, spent in watch.spent.items())
        print(f"\n{name}: {1000 * total / times:.1f} ms of the calling thread\n  " + ", ".join(parts))


class Stopwatch:
    """Processor time of the calling thread in each stage of an embedder, without that of the stages inside it."""

    def __init__(self, encoder: MoonEmbedder) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._inner = [0.0]
        module, model = encoder.module, encoder.module.model
        self._watch(module, "preprocess", "tokens")
        self._watch(module.processor.image_processor, "preprocess", "pictures to pixels")
        self._watch(model.vision_tower, "look", "tower")
        self._watch(encoder._detector, "detect", "detector")
        self._watch(model.get_decoder(), "forward", "decoder")
        self._watch(model.moon_skip, "forward", "skip path")
        self._watch(model.moon_segment_weights, "forward", "pooling")

    def _watch(self, owner: Any, method: str, name: str) -> None:
        plain = getattr(owner, method)

        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return plain(*args, **kwargs)

        setattr(owner, method, watched)

    def stage(self, name: str) -> _Stage:
        return _Stage(self, name)


class _Stage:
    def __init__(self, watch: Stopwatch, name: str) -> None:
        self.watch, self.name = watch, name

    def __enter__(self) -> None:
        self.watch._inner.append(0.0)
        self.started = time.thread_time()

    def __exit__(self, *error: object) -> None:
        spent = time.thread_time() - self.started
        self.watch.spent[self.name] += spent - self.watch._inner.pop()
        self.watch._inner[-1] += spent


def table(title: str, rows: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Prints quartiles of each row, measured in turn so that the machine's drift hits all alike; wall clock medians."""
    walls: dict[str, list[float]] = {name: [] for name in rows}
    processors: dict[str, list[float]] = {name: [] for name in rows}
    for run in rows.values():
        run()
    for _ in range(repeat):
        for name, run in rows.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            walls[name].append((time.perf_counter() - wall) * 1000)
            processors[name].append((time.process_time() - processor) * 1000)
    first = [float(np.median(next(iter(times.values())))) for times in (walls, processors)]
    print(f"\n{title:44} {'median':>8} {'quartiles':>17} {'ratio':>6} {'processor':>10} {'ratio':>6}")
    for name in rows:
        low, median, high = np.percentile(walls[name], (25, 50, 75))
        busy = float(np.median(processors[name]))
        print(
            f"  {name:42} {median:8.1f} {low:8.1f}-{high:<8.1f} {median / first[0]:6.2f} "
            f"{busy:10.1f} {busy / first[1]:6.2f}"
        )
    return {name: float(np.median(times)) for name, times in walls.items()}


def _products(count: int) -> list[tuple[Product, list[Image.Image]]]:
    rows = pl.read_parquet(DEMO / "catalog.parquet").head(count).iter_rows(named=True)
    return [
        (
            Product(id=row["id"], title=row["title"], category=row["category"]),
            [_decoded(Path(DEMO, path).read_bytes()) for path in row["images"]],
        )
        for row in rows
    ]


def _decoded(data: bytes) -> Image.Image:
    return decode_image(data, name="picture", max_bytes=20_000_000, max_pixels=50_000_000)


if __name__ == "__main__":
    main()
