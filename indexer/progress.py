"""Progress with rate and time left: a bar on a terminal, now and then a line in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""Time between two lines in a log."""

Advance = Callable[[int], None]
Track = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Opens a progress display for (stage, items or None); gives a function that is told how many more items are done."""


def untracked(stage: str, items: int | None) -> AbstractContextManager[Advance]:
    """No progress display."""
    return nullcontext(lambda count: None)


@contextmanager
def show_progress(stage: str, items: int | None) -> Iterator[Advance]:
    """Show on stderr how far a stage has come while the block runs. ``items``: None if their number is unknown."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(stage, items).advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(stage, total=items)
        yield lambda count: progress.advance(task, count)


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{_short(speed)}/s" if speed else "")


class Lines:
    """A line every ``LINE_SECONDS``, with the rate since the line before."""

    def __init__(self, stage: str, items: int | None) -> None:
        self._stage, self._items = stage, items
        self._done = self._told = 0
        self._last = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last < LINE_SECONDS:
            return
        rate = (self._done - self._told) / (now - self._last)
        self._told, self._last = self._done, now
        if self._items is None:
            log.info("%s: %d, %s/s", self._stage, self._done, _short(rate))
        else:
            left = timedelta(seconds=round((self._items - self._done) / rate))
            log.info("%s: %d of %d, %s/s, %s left", self._stage, self._done, self._items, _short(rate), left)


def _short(rate: float) -> str:
    return f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"
