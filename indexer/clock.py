"""Where the time of a rebuild goes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """Seconds by stage, in the order in which the stages first ended. A stage may run many times; none runs in another.

    >>> clock = Clock()
    >>> with clock.stage("read"):
    ...     pass
    >>> list(clock.seconds)
    ['read']
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.beside = 0.0
        """Processor seconds of threads that prepared products while other stages ran."""

    @property
    def total(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._start

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the enclosed block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(name, start)

    def waiting(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """``items``, while the time until each of them comes is added to a stage."""
        stream = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(stream)
            except StopIteration:
                return
            finally:
                self._add(name, start)
            yield item

    def _add(self, name: str, start: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
