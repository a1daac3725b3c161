"""How many requests a client may send: a token bucket for each."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

CLIENTS = 10_000
"""Buckets that are kept; the client that was quiet for longest starts anew with a full one."""


class TokenBuckets:
    """A client may send ``burst`` requests at once and ``rate`` per second on average. Thread-safe."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one of the client's tokens. Returns 0, or the seconds until there is one."""
        with self._lock:
            now = self._clock()
            tokens, filled = self._buckets.pop(client, (float(self._burst), now))
            tokens = min(tokens + (now - filled) * self._rate, float(self._burst))
            wait = max(0.0, (1 - tokens) / self._rate)
            self._buckets[client] = (tokens if wait else tokens - 1, now)
            if len(self._buckets) > CLIENTS:
                self._buckets.popitem(last=False)
            return wait
