"""The command that trains."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from app.errors import BadInputError
from trainer.commands.options import DEMO, Out, Seed
from trainer.training.config import FitConfig

FIT = FitConfig()
Data = Annotated[
    Path, typer.Option(help="Folder laid out as demo/, see demo/README.md", show_default="demo/ beside the code")
]


def fit(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="MOON checkpoint: a folder or Hub id")],
    out: Out,
    data: Data = DEMO,
    seed: Seed = FIT.seed,
    box_steps: Annotated[int, typer.Option(help="Steps of the core product detector; 0: leave it")] = FIT.box_steps,
    skip_steps: Annotated[int, typer.Option(help="Steps of the skip path alone; 0: none")] = FIT.skip_steps,
    skip_batch: Annotated[int, typer.Option(help="Triplets per step of the skip path")] = FIT.skip_batch,
    skip_lr: Annotated[float, typer.Option(help="Peak learning rate of the skip path")] = FIT.skip_lr,
    steps: Annotated[int, typer.Option(help="Steps of the whole model; 0: none")] = FIT.steps,
    batch: Annotated[int, typer.Option(help="Triplets per step of the whole model")] = FIT.batch,
    lr: Annotated[float, typer.Option(help="Peak learning rate of the whole model's new parts")] = FIT.lr,
    validate_every: Annotated[int, typer.Option(help="Steps between validations")] = FIT.validate_every,
) -> None:
    """Train a checkpoint on the home-goods set.

    OUT gets the best checkpoint by recall on development designs, its record training.json, the log training.jsonl and
    the loss curve training.png. Feature maps of the frozen vision tower are kept in `cache` beside OUT.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = FitConfig(seed, box_steps, skip_steps, skip_batch, skip_lr, steps, batch, lr, validate_every)
    from trainer.training.fit import fit as run

    try:
        best = run(checkpoint, data, out, config)
    except FloatingPointError as error:
        raise BadInputError(str(error)) from error
    typer.echo(f"Wrote {out}; recall on development designs: {_numbers(best)}.")


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items()) or "none measured"
