"""The command that measures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.errors import BadInputError
from app.settings import Settings, read_settings
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

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainer.evaluation.models.checkpoint import Checkpoint
    from trainer.evaluation.results import Comparison

Split = Literal["train", "dev", "test"]
Preset = Annotated[
    Literal["home"] | None,
    typer.Option(help="Only the home-goods set's own tasks, for MOON checkpoints, against its targets"),
]


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Folders or Hub ids; by default MOON_MODEL, else the starter"),
    ] = None,
    preset: Preset = None,
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
    With --preset home only that is measured: one table of targets, of several checkpoints with their mean and spread.
    """
    from rich.console import Console

    from trainer.evaluation.models.checkpoint import read_checkpoint
    from trainer.evaluation.page import page
    from trainer.evaluation.report import show

    for file in filter(None, (json_file, html_file)):
        if not file.parent.is_dir():
            raise BadInputError(f"{file.parent}: there is no such folder for {file.name}; make it first")
    if preset == "home" and (format_ != "auto" or split != "test" or any((log, images, event, boxes, limit))):
        raise BadInputError(
            "--preset home asks all of the test split of the home-goods set; of the options that choose "
            "data or queries it takes --data alone."
        )
    settings = read_settings()
    names = models or [settings.model]
    checkpoints = [read_checkpoint(name) for name in names]
    if preset == "home":
        comparison = _at_home(checkpoints, data, settings, seed)
    else:
        opened = {"format": format_, "log": log, "images": images, "events": event_weights(event)}
        comparison = _on_data(names, data, opened, boxes, split, limit, settings, seed)
    show(comparison, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH))
    if json_file is not None:
        json_file.write_text(json.dumps(comparison.to_dict(), indent=2) + "\n")
        typer.echo(f"Wrote {json_file}.")
    if html_file is not None:
        html_file.write_text(page(comparison))
        typer.echo(f"Wrote {html_file}.")
    for folder in dict.fromkeys(file.parent for file in (json_file, html_file) if file is not None):
        for file in _write_sheets(comparison, data, folder, settings):
            typer.echo(f"Wrote {file}.")


def _write_sheets(comparison: Comparison, data: Path, folder: Path, settings: Settings) -> Iterator[Path]:
    """Photos that checkpoints get wrong on the home-goods set, one sheet each; several are numbered in their order."""
    from app.images import read_image
    from trainer.data.home import HomeSet
    from trainer.evaluation.wrong_photos import SHEET, contact_sheet

    def read(path: str) -> Image:
        limits = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
        return read_image(str(data / path), **limits)[1]

    for number, evaluation in enumerate(comparison.home.values(), start=1):
        if evaluation.wrong_photos:
            products = [item.product for item in HomeSet(data).products]
            file = folder / (SHEET if len(comparison.home) == 1 else f"{number}-{SHEET}")
            file.write_bytes(contact_sheet(evaluation.wrong_photos, products, read))
            yield file


def _at_home(checkpoints: Sequence[Checkpoint], data: Path, settings: Settings, seed: int) -> Comparison:
    """The home-goods set's own tasks. Raises BadInputError without the set and for models other than MOON."""
    from trainer.data.home import HomeSet
    from trainer.evaluation.models.checkpoint import MOON
    from trainer.evaluation.progress import show_progress
    from trainer.evaluation.run import compare_at_home

    if not (data / "catalog.parquet").is_file():
        raise BadInputError(
            f"{data} does not hold the home-goods set, which is the folder demo/ of a checkout; name it with --data."
        )
    for checkpoint in checkpoints:
        if checkpoint.family != MOON:
            raise BadInputError(
                f"{checkpoint.name} is a {checkpoint.family} model and --preset home measures MOON checkpoints; "
                "measure others without a preset."
            )
    return compare_at_home(
        [checkpoint.name for checkpoint in checkpoints], HomeSet(data), settings, seed, show_progress
    )


def _on_data(
    names: Sequence[str],
    data: Path,
    opened: dict[str, Any],
    boxes: Path | None,
    split: Split,
    limit: int | None,
    settings: Settings,
    seed: int,
) -> Comparison:
    """The paper's protocol on any data, ``opened`` as :func:`trainer.data.open.open_corpus` is told."""
    from trainer.data.boxes import BoxCache
    from trainer.data.home import HomeSet
    from trainer.data.open import open_corpus
    from trainer.data.pictures import PictureStore
    from trainer.evaluation.benchmark import prepare
    from trainer.evaluation.models import open_model
    from trainer.evaluation.progress import show_progress
    from trainer.evaluation.run import Bench, compare

    cache = settings.data / "trainer"
    corpus = open_corpus(data, cache=cache, **opened)
    benchmark = prepare(corpus, split, limit, seed, show_progress)
    find_box = BoxCache.open(boxes, corpus).box if boxes else None
    bench = Bench(benchmark, PictureStore(cache, settings).read, settings, find_box, seed, show_progress)
    home = HomeSet(data) if (corpus.info["format"], split) == ("home", "test") else None
    return compare(names, bench, open_model, home)
