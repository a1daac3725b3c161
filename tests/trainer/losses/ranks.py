"""What every process of a distributed test of the loss does; processes are forked from a server that imported torch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from plain_moon_loss import Batch, RoutedTower, Tower, gradients
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.losses.columns import FILLER
from trainer.losses.filtering import SampleFilter
from trainer.losses.moon import MoonLoss
from trainer.losses.objectives import ObjectiveWeights

ROWS, STEPS = 3, 4
CASES: dict[str, dict[str, Any]] = {
    "direct": {"past_batches": 2},
    "cached": {"past_batches": 2, "mini_batch_size": 2},
    "matryoshka": {"past_batches": 1, "dims": (4,), "mini_batch_size": 2},
    "circle": {"past_batches": 1, "objective": "circle"},
    "no memory": {"past_batches": 0, "margin": None},
    "joint": {"past_batches": 1, "intra": 0.5, "dims": (4,)},
    "joint, balanced": {"past_batches": 1, "intra": 0.5, "weighing": "balanced"},
    "joint, literal": {"past_batches": 1, "weighing": "literal", "intra": 0.5},
    "joint, literal, cached": {"past_batches": 1, "weighing": "literal", "intra": 0.5, "mini_batch_size": 2},
}


def loss_of(case: str, wrap: Callable[[nn.Module], nn.Module] = lambda tower: tower) -> MoonLoss:
    """On a fresh model; weighed ones have experts to be weighed by, and filter samples too."""
    options = {**CASES, "own rank only": {"spatial": False, "past_batches": 1}}[case].copy()
    if (weighing := options.pop("weighing", None)) is None:
        return MoonLoss(wrap(Tower()), **options)
    weights = ObjectiveWeights(3, 3, weighing, sparsity=0.1)
    nn.init.normal_(weights.matrix, generator=torch.Generator().manual_seed(0))
    return MoonLoss(wrap(RoutedTower()), objective_weights=weights, sample_filter=SampleFilter(STEPS), **options)


def joined(case: str, ranks: int, step: int) -> Batch:
    """The batch of all ranks; in those of several views each rank has all rows, some of them fillers."""
    make = partial(Batch.of_views, missing=FILLER) if case.startswith("joint") else Batch.random
    return make(ROWS * ranks, seed=100 * ranks + step)


def train(loss: MoonLoss, batches: list[Batch]) -> dict[str, Tensor]:
    """Values, counts and gradients by step, with plain gradient descent on the model in between."""
    notes = {}
    for number, batch in enumerate(batches):
        loss.zero_grad()
        loss.samples = batch.samples()
        value = loss(batch.features(), batch.labels)
        (value * 0.5).backward()
        found = {f"model.{name}": gradient for name, gradient in gradients(loss.model).items()}
        found |= {"value": value.detach(), "log_temperature": loss.log_temperature.grad, **loss.stats}
        if loss.alignment is not None:
            found["alignment.log_temperature"] = loss.alignment.log_temperature.grad
        if loss.objective_weights is not None:
            found["objective_weights.matrix"] = loss.objective_weights.matrix.grad
        notes |= {f"{number} {name}": tensor.clone() for name, tensor in found.items()}
        with torch.no_grad():
            for parameter in loss.model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.1 * parameter.grad)
    if loss.sample_filter is not None:
        notes["samples"] = loss.sample_filter.read()
    return notes


def work(rank: int, ranks: int, folder: Path) -> None:
    """One process: every case, each on a fresh model; what it found goes to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=ranks)
    notes = {}
    for case in (*CASES, "own rank only"):
        loss = loss_of(case, DistributedDataParallel)
        batches = [joined(case, ranks, step).part(rank, ROWS) for step in range(STEPS)]
        notes |= {f"{case} {name}": tensor for name, tensor in train(loss, batches).items()}
    save_file(notes, folder / f"{rank}.safetensors")
    dist.destroy_process_group()


def run(ranks: int, folder: Path) -> list[dict[str, Tensor]]:
    """What each rank found."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.losses.moon"])
    processes = [context.Process(target=work, args=(rank, ranks, folder)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    if codes != [0] * ranks:
        raise RuntimeError(f"exit codes of the ranks: {codes} (None: still running after 120 s)")
    return [load_file(folder / f"{rank}.safetensors") for rank in range(ranks)]
