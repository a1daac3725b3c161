"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.settings import ROOT

DEMO = ROOT / "demo"
PIPE_WIDTH = 150
"""Columns of tables that do not go to a terminal."""

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder that the checkpoint is written to")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random")]
