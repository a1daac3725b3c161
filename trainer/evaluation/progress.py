"""Progress of long loops, passed in so that only the command line draws bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Track = Callable[[Sequence[Any], str], Iterable[Any]]
"""Passes a sequence through while showing its progress under a title."""


def silently(sequence: Sequence[Any], title: str) -> Iterable[Any]:
    """Shows nothing."""
    return sequence


def show_progress(sequence: Sequence[Any], title: str) -> Iterable[Any]:
    """A progress bar on stderr that leaves no trace."""
    from rich.console import Console
    from rich.progress import track

    return track(sequence, description=title, console=Console(stderr=True), transient=True)
