"""The command that measures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.errors import BadInputError
from app.settings import read_settings
from trainer.commands.options import (
    DEMO,
    PIPE_WIDTH,
    Boxes,
    DataOption,
    Event,
    Format,
    Images,
    Log,
    Seed,
    event_weights,
)

Split = Literal["train", "dev", "test"]


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Folders or Hub ids; by default MOON_MODEL, else the starter"),
    ] = None,
    data: DataOption = DEMO,
    format_: Format = "auto",
    log: Log = None,
    images: Images = None,
    event: Event = None,
    boxes: Boxes = None,
    split: Annotated[Split, typer.Option(help="Whose queries are asked")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Queries drawn at random; by default all")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all numbers to this file")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Also write a page with plots to this file")] = None,
    seed: Seed = 0,
) -> None:
    """Measure models side by side on a data set.

    Retrieval by picture, text and both, category and attribute prediction. MOON checkpoints and the models that the
    paper compares with are measured alike; on the home-goods set checkpoints also stand beside raw vision and BM25.
    """
    from rich.console import Console

    from trainer.data.boxes import BoxCache
    from trainer.data.home import HomeSet
    from trainer.data.open import open_corpus
    from trainer.data.pictures import PictureStore
    from trainer.evaluation.benchmark import prepare
    from trainer.evaluation.models import open_model
    from trainer.evaluation.models.checkpoint import read_checkpoint
    from trainer.evaluation.page import page
    from trainer.evaluation.progress import show_progress
    from trainer.evaluation.report import show
    from trainer.evaluation.run import Bench, compare

    for file in filter(None, (json_file, html_file)):
        if not file.parent.is_dir():
            raise BadInputError(f"{file.parent}: there is no such folder for {file.name}; make it first")
    settings = read_settings()
    names = models or [settings.model]
    for name in names:
        read_checkpoint(name)
    cache = settings.data / "trainer"
    corpus = open_corpus(data, cache=cache, format=format_, log=log, images=images, events=event_weights(event))
    benchmark = prepare(corpus, split, limit, seed, show_progress)
    find_box = BoxCache.open(boxes, corpus).box if boxes else None
    bench = Bench(benchmark, PictureStore(cache, settings).read, settings, find_box, seed, show_progress)
    home = HomeSet(data) if (corpus.info["format"], split) == ("home", "test") else None
    comparison = compare(names, bench, open_model, home)
    show(comparison, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH))
    if json_file is not None:
        json_file.write_text(json.dumps(comparison.to_dict(), indent=2) + "\n")
        typer.echo(f"Wrote {json_file}.")
    if html_file is not None:
        html_file.write_text(page(comparison))
        typer.echo(f"Wrote {html_file}.")
