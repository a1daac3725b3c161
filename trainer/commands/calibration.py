"""The command that learns what turns scores into probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.errors import BadInputError
from app.settings import read_settings
from trainer.commands.options import DEMO, Seed


def calibrate(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="MOON checkpoint; by default MOON_MODEL, else the starter")
    ] = None,
    preset: Annotated[
        Literal["home"], typer.Option(help="What it is learned from: development designs of the home-goods set")
    ] = "home",
    data: Annotated[Path, typer.Option("--data", help="The set's folder", show_default="demo/ beside the code")] = DEMO,
    seed: Seed = 0,
) -> None:
    """Learn what turns a checkpoint's scores into probabilities.

    Writes calibration.json beside the weights: temperatures and votes of
    predictions, from when on they are sure, and from which score on a hit is
    a match. Vectors stay as they are; an index need not be rebuilt.
    """
    from trainer.calibration.calibrate import write_calibration
    from trainer.evaluation.progress import show_progress

    if not (data / "catalog.parquet").is_file():
        raise BadInputError(
            f"{data} does not hold the home-goods set, which is the folder demo/ of a checkout; name it with --data."
        )
    settings = read_settings(**({"model": model} if model else {}))
    typer.echo(f"Wrote {write_calibration(settings, data, seed, show_progress)}.")
