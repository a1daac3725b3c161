"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.errors import BadInputError
from app.settings import ROOT

DEMO = ROOT / "demo"
PIPE_WIDTH = 150
"""Columns of tables that do not go to a terminal."""

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder that the checkpoint is written to")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything drawn at random")]

DATA_HELP = "File or folder of a data set, see docs/training.md"
Data = Annotated[Path, typer.Argument(metavar="DATA", help=DATA_HELP)]
DataOption = Annotated[Path, typer.Option("--data", help=DATA_HELP, show_default="demo/ beside the code")]
Format = Annotated[
    Literal["auto", "home", "mbe", "m5", "fashion200k", "shop"],
    typer.Option("--format", help="What the data are; auto: told by the files"),
]
Log = Annotated[Path | None, typer.Option(help="A shop's interaction log, if DATA is its catalog")]
Images = Annotated[Path | None, typer.Option(help="Folder or zip file of M5Product's pictures")]
Event = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=WEIGHT", help="What an event of a shop's log weighs; can be given several times"),
]
Boxes = Annotated[Path | None, typer.Option(help="Core product boxes from `trainer detect`")]


def event_weights(events: list[str] | None) -> dict[str, float]:
    """The usual weights with those given as ``NAME=WEIGHT``. Raises BadInputError for what is no such thing."""
    from trainer.data.shop_log import EVENTS

    weights = dict(EVENTS)
    for event in events or []:
        name, _, number = event.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name.strip() or not 0 < weight < math.inf:
            raise BadInputError(f"--event {event!r}: write a name and a positive weight, for example purchase=1.")
        weights[name.strip()] = weight
    return weights
