"""What every process of a distributed test of the loss does; processes are forked from a server that imported torch."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from plain_moon_loss import Batch, Tower, gradients
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from trainer.losses.columns import FILLER
from trainer.losses.moon import MoonLoss

ROWS, STEPS = 3, 4
CASES: dict[str, dict[str, Any]] = {
    "direct": {"past_batches": 2},
    "cached": {"past_batches": 2, "mini_batch_size": 2},
    "matryoshka": {"past_batches": 1, "dims": (4,), "mini_batch_size": 2},
    "circle": {"past_batches": 1, "objective": "circle"},
    "no memory": {"past_batches": 0, "margin": None},
    "joint": {
        "past_batches": 1,
        "intra": 0.5,
        "dims": (4,),
        "objective_weights": lambda present: torch.arange(1.0, 4.0),
    },
    "joint, cached": {"past_batches": 1, "intra": 0.5, "mini_batch_size": 2, "sample_weights": torch.sub},
}


def joined(case: str, ranks: int, step: int) -> Batch:
    """The batch of all ranks; in those of several views each rank has all rows, some of them fillers."""
    make = partial(Batch.of_views, missing=FILLER) if case.startswith("joint") else Batch.random
    return make(ROWS * ranks, seed=100 * ranks + step)


def train(loss: MoonLoss, batches: list[Batch]) -> dict[str, Tensor]:
    """Values, counts and gradients by step, with plain gradient descent on the model in between."""
    notes = {}
    for number, batch in enumerate(batches):
        loss.zero_grad()
        value = loss(batch.features(), batch.labels)
        (value * 0.5).backward()
        found = {f"model.{name}": gradient for name, gradient in gradients(loss.model).items()}
        found |= {"value": value.detach(), "log_temperature": loss.log_temperature.grad, **loss.stats}
        if loss.alignment is not None:
            found["alignment.log_temperature"] = loss.alignment.log_temperature.grad
        notes |= {f"{number} {name}": tensor.clone() for name, tensor in found.items()}
        with torch.no_grad():
            for parameter in loss.model.parameters():
                parameter.sub_(0.1 * parameter.grad)
    return notes


def work(rank: int, ranks: int, folder: Path) -> None:
    """One process: every case, each on a fresh model; what it found goes to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=ranks)
    notes = {}
    for case, options in {**CASES, "own rank only": {"spatial": False, "past_batches": 1}}.items():
        loss = MoonLoss(DistributedDataParallel(Tower()), **options)
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
