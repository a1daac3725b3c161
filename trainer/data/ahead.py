"""Reading that runs ahead of its consumer on threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_ahead(function: Callable[[T], R], things: Iterable[T], ahead: int) -> Iterator[R]:
    """``function`` of every thing in their order, computed by threads up to ``ahead`` things before it is asked for."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(min(ahead, 2 * (os.cpu_count() or 1)), thread_name_prefix="ahead") as pool:
        try:
            for thing in things:
                waiting.append(pool.submit(function, thing))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
