"""Concurrent queries share the model's batches; a query that comes alone does not wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import Embedder, Vectors
from app.errors import OverloadedError, StoppingError
from app.metrics import Metrics
from app.schema import Box, Product, Query

Embedded = tuple[NDArray[np.float32], Box | None]
"""One query's vector of shape (dimensions,) and the box that was used on its photo."""

client_gone: ContextVar[threading.Event | None] = ContextVar("client_gone", default=None)
"""Set while a request is answered: the event tells that nobody waits for the answer any more."""

NEWEST = 0.2
"""Weight of the last batch in the running mean of the model's pace."""


@dataclass(frozen=True)
class _Job:
    query: Query
    answer: Future[Embedded] = field(default_factory=Future)
    gone: threading.Event | None = field(default_factory=client_gone.get)
    queued: float = field(default_factory=time.monotonic)

    def fails(self, error: Exception) -> None:
        self.answer.set_exception(error)


class BatchedEmbedder:
    """An :class:`~app.encoder.Embedder` whose ``embed_queries`` calls from many threads run as few model calls.

    One worker thread takes what is queued, up to ``batch_size`` queries. Only when a second query is already there does
    it wait up to ``wait_ms`` for more: a lone query starts at once, and while the model is busy the next batch gathers
    by itself. If a batch fails, its queries are repeated one by one, so that an error reaches only its culprit.

    Waiting is bounded by ``max_wait_ms``: a query is refused with OverloadedError when the queue, at the pace of the
    last batches, takes longer, and when it has waited so long after all; so are more than ``max_queued``. A query whose
    client is gone is not embedded. Products pass one call at a time, labels straight through.
    """

    def __init__(
        self,
        embedder: Embedder,
        batch_size: int = 32,
        wait_ms: float = 4.0,
        max_wait_ms: float = 5000.0,
        max_queued: int = 256,
        metrics: Metrics | None = None,
    ) -> None:
        self._embedder = embedder
        self._batch_size = batch_size
        self._wait = wait_ms / 1000
        self._max_wait = max_wait_ms / 1000
        self._max_queued = max_queued
        self._metrics = metrics or Metrics()
        self._pace = 0.0
        self._queue: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._products = threading.Lock()
        self._closed = False
        self._metrics.queue_length.set_function(lambda: len(self._queue))
        self._worker = threading.Thread(target=self._work, name="embed-queries", daemon=True)
        self._worker.start()

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def fingerprint(self) -> str:
        return self._embedder.fingerprint

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    def embed_products(self, products: Sequence[Product], images: Sequence[Sequence[Image]]) -> Vectors:
        """As the wrapped embedder's. Raises OverloadedError if the calls before it take longer than ``max_wait_ms``."""
        with self._one_at_a_time():
            return self._embedder.embed_products(products, images)

    def embed_labels(self, labels: Sequence[str], segment: Literal["category", "attribute"]) -> Vectors:
        return self._embedder.embed_labels(labels, segment)

    def embed_queries(self, queries: Sequence[Query]) -> tuple[Vectors, list[Box | None]]:
        """As the wrapped embedder's, in a batch with other threads' queries.

        Raises OverloadedError when they would wait too long or did, and StoppingError after ``close``.
        """
        if not queries:
            return np.empty((0, self.dimensions), dtype=np.float32), []
        results = [job.answer.result() for job in self._enqueue(queries)]
        return np.stack([vector for vector, _ in results]), [box for _, box in results]

    def close(self) -> None:
        """Answer what is queued, then stop the worker."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._products.acquire(timeout=self._max_wait):
            raise self._overloaded(self._max_wait)
        try:
            yield
        finally:
            self._products.release()

    def _enqueue(self, queries: Sequence[Query]) -> list[_Job]:
        jobs = [_Job(query) for query in queries]
        with self._changed:
            if self._closed:
                raise StoppingError("the server is shutting down; send the query again in a moment")
            wait = len(self._queue) * self._pace
            if wait > self._max_wait or len(self._queue) + len(jobs) > self._max_queued:
                raise self._overloaded(wait)
            self._queue.extend(jobs)
            self._changed.notify()
        return jobs

    def _overloaded(self, wait: float) -> OverloadedError:
        self._metrics.rejected.labels("wait").inc()
        return OverloadedError("too many queries are waiting for the model; try again in a moment", retry_after=wait)

    def _work(self) -> None:
        while batch := self._next_batch():
            if wanted := [job for job in batch if self._is_wanted(job)]:
                self._embed(wanted)

    def _next_batch(self) -> list[_Job]:
        """Block until there is something to do; an empty list means closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if len(self._queue) > 1:
                self._changed.wait_for(self._is_full, timeout=self._wait)
            return [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]

    def _is_full(self) -> bool:
        return self._closed or len(self._queue) >= self._batch_size

    def _is_wanted(self, job: _Job) -> bool:
        """Whether somebody still waits for it, and not for too long; else it has got its error."""
        waited = time.monotonic() - job.queued
        self._metrics.waited.observe(waited)
        if job.gone is not None and job.gone.is_set():
            self._metrics.rejected.labels("gone").inc()
            job.fails(OverloadedError("the client is gone"))
        elif waited > self._max_wait:
            job.fails(self._overloaded(self._max_wait))
        else:
            return True
        return False

    def _embed(self, batch: Sequence[_Job]) -> None:
        start = time.monotonic()
        self._answer(batch)
        seconds = (time.monotonic() - start) / len(batch)
        self._pace = (1 - NEWEST) * self._pace + NEWEST * seconds if self._pace else seconds
        self._metrics.batch_queries.observe(len(batch))

    def _answer(self, batch: Sequence[_Job]) -> None:
        try:
            vectors, boxes = self._embedder.embed_queries([job.query for job in batch])
        except Exception as error:  # whatever the model raised belongs to the caller who waits for it
            if len(batch) == 1:
                batch[0].fails(error)
                return
            for job in batch:
                self._answer([job])
            return
        for job, vector, box in zip(batch, vectors, boxes, strict=True):
            job.answer.set_result((vector, box))
