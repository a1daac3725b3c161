"""The command that measures what missing fields cost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.complete import LEAST_CONFIDENCE
from app.errors import BadInputError
from app.settings import read_settings
from trainer.commands.options import DEMO, PIPE_WIDTH, Seed


def tolerance(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="MOON checkpoint; by default MOON_MODEL, else the starter")
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="The set's folder", show_default="demo/ beside the code")] = DEMO,
    split: Annotated[Literal["dev", "test"], typer.Option(help="Whose products and queries lack fields")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Designs drawn at random; by default all")] = None,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Least probability of a value that completion fills in")
    ] = LEAST_CONFIDENCE,
    generator: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Folder or Hub id of an image-text model that completes, see docs/indexing.md"
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all numbers to this file")] = None,
    seed: Seed = 0,
) -> None:
    """Measure what missing pictures and words cost the home-goods search.

    Recall with the picture, title, category or attributes of products taken
    away, and with the photo or name of queries; then with completion, as
    `indexer complete` does it, and what that brings back.
    """
    from rich.console import Console

    from app.moon.describe import Describer
    from app.moon.device import choose_device
    from trainer.evaluation.progress import show_progress
    from trainer.evaluation.report import show_tables
    from trainer.evaluation.tolerance_run import measure_tolerance, setup_line, tolerance_tables

    if not (data / "catalog.parquet").is_file():
        raise BadInputError(
            f"{data} does not hold the home-goods set, which is the folder demo/ of a checkout; name it with --data."
        )
    if json_file is not None and not json_file.parent.is_dir():
        raise BadInputError(f"{json_file.parent}: there is no such folder for {json_file.name}; make it first")
    settings = read_settings(**({"model": model} if model else {}))
    writer = None if generator is None else Describer.from_pretrained(generator, choose_device(settings.device)[0])
    measured = measure_tolerance(settings, data, split, limit, confidence, writer, seed, show_progress)
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    show_tables(tolerance_tables(measured), console)
    console.print(setup_line(measured), markup=False, highlight=False)
    if json_file is not None:
        json_file.write_text(json.dumps(measured.to_dict(), indent=2) + "\n")
        typer.echo(f"Wrote {json_file}.")
