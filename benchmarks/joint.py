"""What joint learning costs: a training step that asks for the same triplets in one way, in all, or in one of them.

    python benchmarks/joint.py [--model starter] [--batch 8] [--repeat 7] [--threads 1] [--mini-batch 4]
    python benchmarks/joint.py --model qwen2.5-vl-3b --device cuda --side 800

Variants: mixture (MOON), joint, budget, joint with intra-product alignment. All see the same products, as many per
step; steps, times, memory and ratios are as in `benchmarks/train.py`. Below the table stand the encodes of a step, its
queries, and what 1,000 queries cost: a joint step learns from more of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time

import torch
from train_steps import BATCHES, Bench, Variant, compare

from app.settings import ROOT
from trainer.training.triplets import Recipe

VARIANTS = {
    "mixture": (Recipe(), 0.0),
    "joint": (Recipe(views="joint"), 0.0),
    "budget": (Recipe(views="budget"), 0.0),
    "joint + intra": (Recipe(views="joint", intra=True), 1.0),
}


def joint(bench: Bench, mini_batch: int | None, past_batches: int) -> None:
    module = bench.module()
    encoding = bench.encoding(module)
    variants = {
        name: Variant(
            bench,
            module,
            encoding,
            source=bench.source_of(recipe),
            intra=intra,
            mini_batch_size=mini_batch,
            past_batches=past_batches,
        )
        for name, (recipe, intra) in VARIANTS.items()
    }
    compare(bench, f"views of a query, {bench.batch} triplets", variants)
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
    joint(bench, given.mini_batch, given.past_batches)


if __name__ == "__main__":
    main()
