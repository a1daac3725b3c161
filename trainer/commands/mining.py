"""Commands that let a model look through a data set before training: boxes of core products, hard negatives."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.errors import BadInputError
from app.settings import Settings, read_settings
from trainer.commands.options import PIPE_WIDTH, Data, Event, Format, Images, Log, event_weights
from trainer.data.mine_config import MineConfig

if TYPE_CHECKING:
    from trainer.data.find_boxes import Found
    from trainer.data.mine import Mined

MINE = MineConfig()
SHOWN_REASONS = 3


def detect(
    data: Data,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the boxes, for `trainer fit --boxes`")],
    detector: Annotated[
        Literal["auto", "learned", "saliency", "grounding"] | None,
        typer.Option(
            help="The checkpoint's box head, its visual tokens that agree most, or a grounding model; auto: the box "
            "head if the checkpoint has one",
            show_default="MOON_DETECTOR, else auto",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="MOON checkpoint of learned and saliency", show_default="MOON_MODEL, else the starter"),
    ] = None,
    grounding_model: Annotated[
        str | None, typer.Option(help="Folder or Hub id for grounding", show_default="MOON_GROUNDING_MODEL")
    ] = None,
    format: Format = "auto",
    log: Log = None,
    images: Images = None,
    event: Event = None,
) -> None:
    """Find the core product in every picture of a data set, once.

    Pictures that have a box in the data keep it; packshots on plain ground get none. A run that was ended goes on
    where it stopped when it is started again; pictures that could not be read are then tried again.
    """
    settings = _settings(detector=detector, model=model, grounding_model=grounding_model)
    if settings.detector == "none":
        raise BadInputError("MOON_DETECTOR is none, which finds no boxes; choose a detector with --detector")
    from app.moon.embedder import load_detector
    from app.moon.fingerprint import model_fingerprint
    from trainer.data.find_boxes import UNREADABLE, find_boxes
    from trainer.data.open import open_corpus
    from trainer.data.pictures import PictureStore
    from trainer.evaluation.progress import show_progress

    guided = settings.detector == "grounding"
    identity = settings.grounding_model if guided else model_fingerprint(settings.model, settings)
    cache = settings.data / "trainer"
    corpus = open_corpus(data, cache=cache, format=format, log=log, images=images, events=event_weights(event))
    found = find_boxes(
        corpus,
        load_detector(settings),
        PictureStore(cache, settings),
        out,
        f"{settings.detector} {identity}",
        guided=guided,
        batch_size=settings.batch_size,
        track=show_progress,
    )
    _show_found(found, out / UNREADABLE)
    typer.echo(f"Wrote {out}.")


def mine(
    data: Data,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="MOON checkpoint: a folder or Hub id")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File of the negatives, for `trainer fit --mined`")],
    negatives: Annotated[int, typer.Option(min=1, help="Most negatives of a record")] = MINE.negatives,
    top_k: Annotated[int, typer.Option(min=1, help="Nearest products that are looked at")] = MINE.top_k,
    range_min: Annotated[
        int, typer.Option(min=0, help="So many of the nearest other products are passed over")
    ] = MINE.range_min,
    relative_margin: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the positive's score by which a negative's is lower")
    ] = MINE.relative_margin,
    absolute_margin: Annotated[
        float, typer.Option(min=0, help="Difference by which it is lower")
    ] = MINE.absolute_margin,
    boxes: Annotated[Path | None, typer.Option(help="Folder of `trainer detect` for the queries' pictures")] = None,
    format: Format = "auto",
    log: Log = None,
    images: Images = None,
    event: Event = None,
) -> None:
    """Find hard negatives: products that a checkpoint takes for another.

    For every training record the nearest products are searched exactly. Those as right as the positive are left out:
    the same product, model or title, another product bought for the query, one that it means just as well; and so are
    those that score too close to the positive. Products of other splits alone are never negatives.
    """
    if range_min >= top_k:
        raise BadInputError(f"--range-min {range_min} leaves nothing of --top-k {top_k}; lower one or raise the other")
    settings = _settings(model=model)
    from app.moon.device import choose_device
    from app.moon.embedder import load_encoder
    from trainer.data.boxes import BoxCache
    from trainer.data.mine import mine as run
    from trainer.data.mine_vectors import Reader
    from trainer.data.open import open_corpus
    from trainer.data.pictures import PictureStore
    from trainer.evaluation.progress import show_progress
    from trainer.evaluation.search import top_k as nearest

    cache = settings.data / "trainer"
    config = MineConfig(negatives, top_k, range_min, relative_margin, absolute_margin)
    corpus = open_corpus(data, cache=cache, format=format, log=log, images=images, events=event_weights(event))
    reader = Reader(PictureStore(cache, settings), BoxCache.open(boxes, corpus) if boxes else None)
    result = run(
        corpus,
        load_encoder(settings),
        reader,
        out,
        config,
        search=partial(nearest, device=choose_device(settings.device)[0]),
        batch_size=settings.batch_size,
        track=show_progress,
    )
    _show_mined(result)
    typer.echo(f"Wrote {out}.")


def _settings(**given: Any) -> Settings:
    return read_settings(**{name: value for name, value in given.items() if value is not None})


def _show_found(found: Found, reasons: Path) -> None:
    looked_at = found.box + found.plain + found.none
    rows = [
        ("with a box of the data", found.own),
        ("box found", found.box),
        ("plain ground, shown whole", found.plain),
        ("no box worth a crop", found.none),
        ("unreadable", found.unreadable),
    ]
    _table(("pictures", ""), [(name, f"{count:,}") for name, count in rows])
    typer.echo(f"{looked_at:,} looked at, {found.earlier:,} of them by earlier runs.")
    if found.unreadable:
        with reasons.open() as lines:
            for line in [line for line, _ in zip(lines, range(SHOWN_REASONS), strict=False)]:
                typer.echo(f"    {_printable(line)}")
        typer.echo(f"All unreadable pictures: {reasons}")


def _show_mined(mined: Mined) -> None:
    total = mined.records + mined.none.total()
    rows = [("with mined negatives", mined.records), *((f"none, {why}", n) for why, n in mined.none.most_common())]
    _table(("training records", "", ""), [(name, f"{count:,}", f"{count / max(total, 1):.1%}") for name, count in rows])
    typer.echo(
        f"{mined.negatives:,} negatives among {mined.gallery:,} products; mean score {mined.negative_score:.3f}, "
        f"of the positives {mined.positive_score:.3f}. Pictures left out as unreadable: {mined.unreadable:,}."
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0))
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def _printable(words: str) -> str:
    """Control characters of a data set must not reach the terminal."""
    return "".join(character if character.isprintable() else "�" for character in words.rstrip("\n"))
