"""The command that makes further titles and pictures of training products."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from app.errors import BadInputError
from app.settings import read_settings
from trainer.augmentation.config import KINDS, AugmentConfig, PictureKind, TitleSource
from trainer.commands.options import PIPE_WIDTH, Boxes, Data, Event, Format, Images, Log, Seed, event_weights

if TYPE_CHECKING:
    from trainer.augmentation.augment import Augmentation

AUGMENT = AugmentConfig()
REJECTED = 3
"""Exit status when something was rejected."""
SHOWN_REASONS = 12
NONE = "none"


def augment(
    data: Data,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that is written, for `trainer fit --augmented`")],
    titles: Annotated[
        TitleSource | None,
        typer.Option(
            help="Where enriched titles come from: the record's own fields, a model, or none",
            show_default="model with --model, else fields",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Image-text model that writes titles: a folder or Hub id, such as a Qwen3-VL")
    ] = AUGMENT.model,
    pictures: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help=f"Kinds of pictures: {', '.join(AUGMENT.pictures)}, or {NONE}; can be given several times",
            show_default="all of them",
        ),
    ] = None,
    editor: Annotated[
        str | None,
        typer.Option(help="Image-editing pipeline of diffusers for further pictures; needs the extra `generate`"),
    ] = AUGMENT.editor,
    boxes: Boxes = None,
    min_score: Annotated[
        float, typer.Option(min=-1, max=1, help="Least cosine of what is kept with its product")
    ] = AUGMENT.min_score,
    min_category_score: Annotated[
        float, typer.Option(min=-1, max=1, help="Least cosine with the product's category")
    ] = AUGMENT.min_category_score,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Products drawn at random, for a trial; by default all")
    ] = AUGMENT.limit,
    format: Format = "auto",
    log: Log = None,
    images: Images = None,
    event: Event = None,
    seed: Seed = AUGMENT.seed,
) -> None:
    """Enrich the titles and expand the pictures of training products.

    MOON (MOON_MODEL, else the starter) scores everything that is made; what is far from its product or nearer to
    another one is rejected. OUT gets augmented.parquet, the pictures, titles.csv with the titles before and after,
    rejects.csv and rejects.parquet with the reasons, and sheet.html to look at. Products that development or test
    records ask for are left out. A run that was killed goes on where it stopped. Exit status: 0 if all is kept, 3 if
    some is rejected, 1 if it failed or nothing is kept.
    """
    config = AugmentConfig(
        _title_source(titles, model), _kinds(pictures), model, editor, min_score, min_category_score, limit, seed
    )
    from functools import partial

    from app.moon.device import choose_device
    from app.moon.embedder import load_encoder
    from trainer.augmentation.augment import augment as run
    from trainer.augmentation.editor import Editor
    from trainer.augmentation.titles import ModelTitles
    from trainer.data.boxes import BoxCache
    from trainer.data.open import open_corpus
    from trainer.data.pictures import PictureStore
    from trainer.evaluation.progress import show_progress
    from trainer.evaluation.search import top_k

    settings = read_settings()
    cache, device = settings.data / "trainer", choose_device(settings.device)[0]
    corpus = open_corpus(data, cache=cache, format=format, log=log, images=images, events=event_weights(event))
    found = run(
        corpus,
        load_encoder(settings),
        PictureStore(cache, settings),
        BoxCache.open(boxes, corpus).box if boxes else lambda picture, title: picture.box,
        out,
        config,
        write_title=ModelTitles.from_pretrained(model, device) if model else None,
        edit=Editor.from_pretrained(editor, device) if editor else None,
        search=partial(top_k, device=device),
        track=show_progress,
    )
    _show(found, out)
    if not found.outcome.kept:
        raise BadInputError(f"nothing is good enough to be kept; {out / 'rejects.csv'} has the reasons")
    if found.outcome.rejected:
        raise typer.Exit(REJECTED)


def _title_source(titles: TitleSource | None, model: str | None) -> TitleSource:
    source = titles or ("model" if model else "fields")
    if (source == "model") != (model is not None):
        raise BadInputError(
            "--titles model needs the model that writes them; name it with --model"
            if model is None
            else f"--titles {source} needs no --model; leave one of them out"
        )
    return source


def _kinds(wished: list[str] | None) -> tuple[PictureKind, ...]:
    """The wished kinds in their usual order. Raises BadInputError for one that there is not."""
    if wished is None or wished == [NONE]:
        return AUGMENT.pictures if wished is None else ()
    if unknown := sorted(set(wished) - set(AUGMENT.pictures)):
        raise BadInputError(f"--pictures {unknown[0]}: choose of {', '.join(AUGMENT.pictures)}, or {NONE} alone")
    return tuple(kind for kind in get_args(PictureKind) if kind in wished)


def _show(found: Augmentation, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False, soft_wrap=True)
    outcome = found.outcome
    table = Table(box=None, padding=(0, 1, 0, 0))
    for place, name in enumerate(("made", "kept", "rejected")):
        table.add_column(name, justify="right" if place else "left")
    for kind in [*KINDS, *sorted((outcome.kept + outcome.rejected).keys() - set(KINDS))]:
        if outcome.kept[kind] or outcome.rejected[kind]:
            table.add_row(kind, f"{outcome.kept[kind]:,}", f"{outcome.rejected[kind]:,}")
    console.print(table)
    for reason, count in outcome.reasons.most_common(SHOWN_REASONS):
        console.print(f"    {count:,} rejected: {reason}")
    if len(outcome.reasons) > SHOWN_REASONS:
        console.print(f"    and {len(outcome.reasons) - SHOWN_REASONS:,} other reasons")
    console.print(
        f"{found.products:,} products, {found.made:,} of them new; {found.held_out:,} left out because development or "
        "test records ask for them."
    )
    console.print(f"Wrote {out}; look at {out / 'sheet.html'} and {out / 'titles.csv'}.")
