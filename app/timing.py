"""Where the time of one request goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Milliseconds per stage and in total, counted from the moment it is made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the enclosed block as stage ``name``."""
        start = time.perf_counter()
        yield
        self._stages[name] = _milliseconds(start)

    def timings(self) -> dict[str, float]:
        """The stages in the order they ran, then ``total``."""
        return {**self._stages, "total": _milliseconds(self._start)}


def _milliseconds(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 2)
