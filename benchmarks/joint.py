"""What MOON2.0's parts cost in a training step of the same triplets.

    python benchmarks/joint.py [--model starter] [--batch 8] [--repeat 7] [--threads 1] [--mini-batch 4]
    python benchmarks/joint.py --augmented runs/augmented
    python benchmarks/joint.py --model qwen2.5-vl-3b --device cuda --side 800

Variants: the mixture (MOON), alone and with intra-product alignment, weights by balanced experts, filtering, and what
`trainer augment` made in every triplet, if its folder is given; the budget; joint views alone, with alignment, and with
all of it but augmentation. All see the same products, as many per step; steps, times, memory and ratios are as in
`benchmarks/train.py`. Below the table stand the encodes of a step, its queries, and what 1,000 queries cost: a joint
step learns from more of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from train_steps import BATCHES, Bench, Variant, compare

from app.moon.transformer import MoonTransformer
from app.settings import ROOT
from trainer.data.record import MODALITIES
from trainer.losses.filtering import SampleFilter
from trainer.losses.objectives import ObjectiveWeights
from trainer.training.triplets import Recipe

VARIANTS: dict[str, tuple[Recipe, tuple[str, ...]]] = {
    "mixture": (Recipe(), ()),
    "mixture + intra": (Recipe(intra=True), ("intra",)),
    "mixture + experts": (Recipe(), ("experts",)),
    "mixture + filtering": (Recipe(), ("filtering",)),
    "budget": (Recipe(views="budget"), ()),
    "joint": (Recipe(views="joint"), ()),
    "joint + intra": (Recipe(views="joint", intra=True), ("intra",)),
    "joint + all": (Recipe(views="joint", intra=True), ("intra", "experts", "filtering")),
}
SPARSITY, STEPS = 0.001, 1000


def options(parts: Sequence[str], module: MoonTransformer) -> dict[str, Any]:
    """Arguments of the loss."""
    made = {
        "intra": lambda: {"intra": 1.0},
        "experts": lambda: {
            "objective_weights": ObjectiveWeights(module.moon.free_experts, len(MODALITIES), "balanced", SPARSITY)
        },
        "filtering": lambda: {"sample_filter": SampleFilter(STEPS)},
    }
    return {name: value for part in parts for name, value in made[part]().items()}


def joint(bench: Bench, mini_batch: int | None, past_batches: int, augmented: Path | None) -> None:
    module = bench.module()
    encoding = bench.encoding(module)
    common: dict[str, Any] = {"mini_batch_size": mini_batch, "past_batches": past_batches}
    variants = {
        name: Variant(bench, module, encoding, source=bench.source_of(recipe), **options(parts, module), **common)
        for name, (recipe, parts) in VARIANTS.items()
    }
    if augmented is not None:
        source = bench.source_of(Recipe(), augmented)
        variants["mixture + augmentation"] = Variant(bench, module, encoding, source=source, **common)
    compare(bench, f"parts of MOON2.0, {bench.batch} triplets", variants)
    for name, step in variants.items():
        encodes = statistics.mean(step.rows(number) for number in range(BATCHES))
        queries = statistics.mean(step.rows(number, "query") for number in range(BATCHES))
        started = time.perf_counter()
        for number in range(BATCHES):
            step(number)
        seconds = (time.perf_counter() - started) / BATCHES / queries * 1000
        print(f"  {name:32} {encodes:8.1f} encodes, {queries:6.1f} queries, {seconds:8.1f} s per 1,000 queries")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="as in benchmarks/train.py")
    parser.add_argument("--batch", type=int, default=8, help="triplets per step")
    parser.add_argument("--mini-batch", type=int, help="rows per model call, with gradient caching")
    parser.add_argument("--past-batches", type=int, default=0)
    parser.add_argument("--augmented", type=Path, help="folder of `trainer augment`, made of the demo")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", type=int, help="pictures are resized to so many pixels on both sides")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{given.model}, {platform.machine()}, {given.device}, {given.threads} threads, load before {load}")
    bench = Bench(
        model=given.model,
        batch=given.batch,
        repeat=given.repeat,
        device=given.device,
        side=given.side,
        peak=None,
        profile=False,
        cache=ROOT / "runs" / "cache",
    )
    joint(bench, given.mini_batch, given.past_batches, given.augmented)


if __name__ == "__main__":
    main()
