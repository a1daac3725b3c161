"""What each part of the training costs or saves: one training step with and without it, on the demo catalog.

    python benchmarks/train.py [--cases features ...] [--model starter] [--batch 8] [--repeat 7] [--threads 1]
    python benchmarks/train.py --model qwen2.5-vl-3b --device cuda --peak-tflops 989 --side 800 --profile

Cases: features (kept features of the frozen tower), caching (gradient caching), negatives (temporal), ranks (temporal
and spatial, on two processes), experts (low-rank or full copies), routing (an expert's own tokens only, or all tokens).
A step is forward, backward, clipping and AdamW on a batch that lies ready; in `features` reading the batch is part of
it. Variants take turns on the same batches; their ratio to the first row is the median of the ratios of each turn, with
quartiles, by the clock and by this process's CPU time, which other work on the machine disturbs less. Memory is counted
from torch's own allocations: parameters, the optimiser's state and the highest point within a step.

The Qwen model has its full width and random weights. `--peak-tflops` adds the arithmetic of matrix products and (on a
GPU) attention, counting what gradient checkpointing computes again, as a share of the device's bf16 peak.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from train_models import full_copies
from train_steps import BATCHES, Bench, Variant, compare

from app.moon.experts import FullExperts, LowRankExperts
from app.settings import ROOT
from trainer.training.batches import COLUMNS

MODELS = ("starter", "tiny", "qwen2.5-vl-3b", "qwen2.5-vl-trial")
LARGE_CASES = ("caching", "negatives", "routing")
PAST = 2


def features(bench: Bench) -> None:
    pixels, maps = bench.module(), bench.module()
    variants = {
        "pixels, tower in every step": Variant(bench, pixels, bench.encoding(pixels, kept=False), ahead=False),
        "kept features": Variant(bench, maps, bench.encoding(maps), ahead=False),
    }
    compare(bench, "feature cache; a step with reading its batch", variants)


def caching(bench: Bench) -> None:
    module = bench.module()
    encoding, half, quarter = bench.encoding(module), bench.batch // 2, bench.batch // 4
    variants = {"whole columns at once": Variant(bench, module, encoding)}
    for rows in (half, quarter):
        variants[f"gradient caching, {rows} rows at a time"] = Variant(bench, module, encoding, mini_batch_size=rows)
    compare(bench, f"gradient caching, {bench.batch} triplets", variants)


def negatives(bench: Bench) -> None:
    module = bench.module()
    encoding = bench.encoding(module)
    variants = {
        name: Variant(bench, module, encoding, past_batches=past)
        for name, past in {"own batch": 0, f"and {PAST} past batches": PAST}.items()
    }
    compare(bench, f"temporal negatives, {bench.batch} triplets", variants)
    compare_losses(bench, variants)


def compare_losses(bench: Bench, variants: Mapping[str, Variant], repeat: int = 200) -> None:
    """Print milliseconds, median of ``repeat`` runs, from embeddings to their gradients; the first process prints."""
    for name, variant in variants.items():
        labels, times = variant.batch(0)["label"].to(bench.device), []
        columns = [[torch.randn(bench.batch, variant.width, device=labels.device, requires_grad=True)] for _ in COLUMNS]
        for _ in range(repeat):
            started, busy = time.perf_counter(), time.process_time()
            variant.loss.calculate_loss(columns, labels).backward()
            times.append((time.perf_counter() - started, time.process_time() - busy))
        wall, cpu = (1000 * statistics.median(kind) for kind in zip(*times, strict=True))
        if not dist.is_initialized() or dist.get_rank() == 0:
            print(f"  the loss alone, {name}: {wall:.2f} ms, {cpu:.2f} ms of CPU time")


def ranks(bench: Bench) -> None:
    """Two processes; the first one prints."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        both = [context.Process(target=rank, args=(replace(bench), number, folder)) for number in (0, 1)]
        for process in both:
            process.start()
        for process in both:
            process.join()


def rank(bench: Bench, number: int, folder: str) -> None:
    torch.set_num_threads(1)
    backend = "nccl" if bench.device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/meeting", rank=number, world_size=2)
    modules = [bench.module() for _ in range(3)]  # each is wrapped by DDP
    choices = {
        "own batch": {"spatial": False, "past_batches": 0},
        "and the other process's": {"past_batches": 0},
        f"and {PAST} past batches of both": {"past_batches": PAST},
    }
    variants = {
        name: Variant(bench, module, bench.encoding(module), first=number * BATCHES * bench.batch, **options)
        for module, (name, options) in zip(modules, choices.items(), strict=True)
    }
    compare(bench, f"spatial and temporal negatives, 2 processes, {bench.batch} triplets each", variants)
    compare_losses(bench, variants)
    dist.destroy_process_group()


def experts(bench: Bench) -> None:
    full, low = full_copies(bench.module()), bench.module()
    variants = {
        "full copies of the FFN": Variant(bench, full, bench.encoding(full)),
        "low-rank experts": Variant(bench, low, bench.encoding(low)),
    }
    compare(bench, f"experts, {bench.batch} triplets", variants)


def routing(bench: Bench) -> None:
    for kind in ("full copies",) * (not bench.large) + ("low rank",):
        module = bench.module() if kind == "low rank" else full_copies(bench.module())
        encoding = bench.encoding(module)
        variants = {
            "every expert on every token": Variant(bench, module, encoding, around=every_expert),
            "routed tokens only": Variant(bench, module, encoding),
        }
        compare(bench, f"routing of experts, {kind}, {bench.batch} triplets", variants)


@contextmanager
def every_expert() -> Iterator[None]:
    """Within it all experts compute all tokens, and weights of 0 take out what does not count."""

    def full(self: Any, flat: Tensor, weights: Tensor) -> Tensor:
        return sum(expert(flat) * weights[:, n, None] for n, expert in enumerate(self.experts))  # type: ignore[return-value]

    def low_rank(self: Any, flat: Tensor, weights: Tensor) -> Tensor:
        gate, up = self.shared.gate_proj(flat), self.shared.up_proj(flat)
        activated = [self._activate(n, flat, gate, up, weights) for n in range(self.config.experts)]
        return sum(self.down(n, one) for n, one in enumerate(activated)) + self.shared.down_proj(sum(activated))

    with mock.patch.object(FullExperts, "mix", full), mock.patch.object(LowRankExperts, "mix", low_rank):
        yield


CASES = {
    "features": features,
    "caching": caching,
    "negatives": negatives,
    "ranks": ranks,
    "experts": experts,
    "routing": routing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES)
    parser.add_argument("--model", choices=MODELS, default="starter", help="trial: Qwen's architecture, a tiny width")
    parser.add_argument("--batch", type=int, default=8, help="triplets per process and step")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", type=int, help="pictures are resized to so many pixels on both sides")
    parser.add_argument("--peak-tflops", type=float, help="of the device in bf16")
    parser.add_argument("--profile", action="store_true", help="also print where a step of each last row spends time")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{given.model}, {platform.machine()}, {given.device}, {given.threads} threads, torch {torch.__version__}, "
        f"load before {load}"
    )
    large = given.model.startswith("qwen")
    cases = given.cases or (LARGE_CASES if large else CASES)
    bench = Bench(
        model=given.model,
        batch=given.batch,
        repeat=given.repeat,
        device=given.device,
        side=given.side,
        peak=given.peak_tflops,
        profile=given.profile,
        cache=ROOT / "runs" / "cache",
    )
    for case in cases:
        CASES[case](bench)


if __name__ == "__main__":
    main()
