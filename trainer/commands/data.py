"""The command that looks at data before anything is trained on them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app.settings import read_settings
from trainer.commands.options import PIPE_WIDTH, Data, Event, Format, Images, Log, event_weights

LEFT_OUT = 3
"""Exit status when some records cannot be used."""


def validate(
    data: Data,
    log: Log = None,
    format: Format = "auto",
    images: Images = None,
    event: Event = None,
    pictures: Annotated[int, typer.Option(min=0, help="Pictures drawn at random and opened")] = 50,
) -> None:
    """Print what is understood of a data set.

    Counts, gaps, languages, duplicates, examples of records, and what was left out with the reasons. Training and
    evaluation open the data set the same way. Exit status: 0 if all can be used, 3 if some records are left out or some
    pictures cannot be read, 1 if nothing can be used.
    """
    from rich.console import Console

    from trainer.data.inspect import inspect, unreadable_pictures
    from trainer.data.inspect_report import show_contents, show_examples, show_pictures, show_problems
    from trainer.data.open import open_corpus, read_problems
    from trainer.data.pictures import PictureStore

    settings = read_settings()
    cache = settings.data / "trainer"
    corpus = open_corpus(data, cache=cache, format=format, log=log, images=images, events=event_weights(event))
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    show_contents(corpus, inspect(corpus), console)
    tried, broken = unreadable_pictures(corpus, pictures, PictureStore(cache, settings).read)
    show_pictures(tried, broken, console)
    show_examples(corpus, console)
    report = read_problems(corpus)
    show_problems(corpus, report, console)
    if report.count("reject") or broken:
        raise typer.Exit(LEFT_OUT)
