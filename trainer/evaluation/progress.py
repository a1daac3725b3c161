"""Progress of long loops, passed in so that only the command line draws bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

Many = Sequence[Any] | NDArray[Any]
Track = Callable[[Many, str], Iterable[Any]]
"""Passes a sequence through while showing its progress under a title."""


def silently(sequence: Many, title: str) -> Iterable[Any]:
    """Shows nothing."""
    return sequence


def show_progress(sequence: Many, title: str) -> Iterable[Any]:
    """A progress bar on stderr that leaves no trace; nothing if that is no terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        return sequence
    return track(sequence, total=len(sequence), description=title, console=console, transient=True)
