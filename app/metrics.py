"""What the server counts: for Prometheus, and as percentiles of the last minutes."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REMEMBERED = 4096
"""The newest durations of each stage that percentiles are made of."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Percentiles(NamedTuple):
    """Milliseconds below which half, 95 % and 99 % of so many ``answers`` lie."""

    answers: int
    p50: float
    p95: float
    p99: float


class Metrics:
    """The metrics of one service, in a registry of its own. Thread-safe; no label has unbounded values."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        seconds = partial(Histogram, registry=self.registry, buckets=SECONDS)
        self.requests = counter("moon_requests", "HTTP requests by route and status", ["route", "status"])
        self.request_seconds = seconds("moon_request_seconds", "Time to answer a request", ["route"])
        self.in_work = gauge("moon_requests_in_work", "API requests that are being answered")
        self.rejected = counter("moon_rejected", "Requests and queries that were not answered, by reason", ["reason"])
        self.stage_seconds = seconds("moon_stage_seconds", "Time of each stage of a search or prediction", ["stage"])
        self.queue_length = gauge("moon_queue_length", "Queries that wait for the model")
        self.waited = seconds("moon_queue_wait_seconds", "Time a query waited for the model")
        self.batch_queries = Histogram(
            "moon_batch_queries",
            "Queries per model call",
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )
        self.products = gauge("moon_products", "Products of the build that is searched")
        self.build_age = gauge("moon_build_age_seconds", "Time since that build was started")
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._durations: dict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=REMEMBERED))

    def observe(self, timings: Mapping[str, float]) -> None:
        """Count the milliseconds of each stage of one answer, as a :class:`~app.timing.Stopwatch` gives them."""
        if getattr(self._thread, "paused", False):
            return
        now = time.monotonic()
        for stage, milliseconds in timings.items():
            self.stage_seconds.labels(stage).observe(milliseconds / 1000)
            with self._lock:
                self._durations[stage].append((now, milliseconds))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The timings of answers that this thread makes inside the block are not counted: nobody waits for them."""
        self._thread.paused = True
        try:
            yield
        finally:
            self._thread.paused = False

    def percentiles(self, seconds: float = 300.0) -> dict[str, Percentiles]:
        """By stage, ``total`` among them, of the answers of the last ``seconds``; stages without any are left out."""
        since = time.monotonic() - seconds
        with self._lock:
            lately = {stage: [ms for at, ms in past if at >= since] for stage, past in self._durations.items()}
        return {
            stage: Percentiles(len(values), *np.percentile(values, (50, 95, 99)).tolist())
            for stage, values in lately.items()
            if values
        }
