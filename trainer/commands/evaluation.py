"""The command that measures."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.settings import read_settings
from trainer.commands.options import DEMO, PIPE_WIDTH, Seed

Data = Annotated[
    Path, typer.Option(help="Folder laid out as demo/, see demo/README.md", show_default="demo/ beside the code")
]


class Preset(StrEnum):
    """Evaluations that exist."""

    HOME = "home"


def evaluate(
    preset: Annotated[Preset, typer.Option(help="home: held-out designs of the home-goods set")],
    model: Annotated[str | None, typer.Option(help="MOON checkpoint; by default MOON_MODEL, else the starter")] = None,
    data: Data = DEMO,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all numbers to this file")] = None,
    seed: Seed = 0,
) -> None:
    """Measure a checkpoint beside a raw vision tower and BM25.

    Every product of the catalog is in the gallery; the queries are of designs that training never saw.
    """
    from rich.console import Console

    from trainer.evaluation.home import evaluate as run
    from trainer.evaluation.report import show, show_progress

    settings = read_settings() if model is None else read_settings(model=model)
    result = run(settings, data, seed, show_progress)
    show(result, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH))
    if json_file is not None:
        json_file.write_text(json.dumps({"preset": preset.value, **result.to_dict()}, indent=2) + "\n")
        typer.echo(f"Wrote {json_file}.")
