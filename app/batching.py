"""Concurrent queries share the model's batches; a query that comes alone does not wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import Embedder, Vectors
from app.errors import ModelError, OverloadedError
from app.schema import Box, Product, Query

Embedded = tuple[NDArray[np.float32], Box | None]
"""One query's vector of shape (dimensions,) and the box that was used on its photo."""


class BatchedEmbedder:
    """An :class:`~app.encoder.Embedder` whose ``embed_queries`` calls from many threads run as few model calls.

    One worker thread takes what is queued, up to ``batch_size`` queries. Only when a second query is already there does
    it wait up to ``wait_ms`` for more: a lone query starts at once, and while the model is busy the next batch gathers
    by itself. If a batch fails, its queries are repeated one by one, so that an error reaches only its culprit.

    Products and labels pass straight through. More than ``max_queued`` waiting queries raise OverloadedError.
    """

    def __init__(self, embedder: Embedder, batch_size: int = 32, wait_ms: float = 4.0, max_queued: int = 256) -> None:
        self._embedder = embedder
        self._batch_size = batch_size
        self._wait = wait_ms / 1000
        self._max_queued = max_queued
        self._queue: deque[tuple[Query, Future[Embedded]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
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
        return self._embedder.embed_products(products, images)

    def embed_labels(self, labels: Sequence[str], segment: Literal["category", "attribute"]) -> Vectors:
        return self._embedder.embed_labels(labels, segment)

    def embed_queries(self, queries: Sequence[Query]) -> tuple[Vectors, list[Box | None]]:
        """As the wrapped embedder's, in a batch with other threads' queries.

        Raises OverloadedError when the queue is full and ModelError after ``close``.
        """
        if not queries:
            return np.empty((0, self.dimensions), dtype=np.float32), []
        results = [future.result() for future in self._enqueue(queries)]
        return np.stack([vector for vector, _ in results]), [box for _, box in results]

    def close(self) -> None:
        """Answer what is queued, then stop the worker."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join()

    def _enqueue(self, queries: Sequence[Query]) -> list[Future[Embedded]]:
        futures: list[Future[Embedded]] = [Future() for _ in queries]
        with self._changed:
            if self._closed:
                raise ModelError("the server is shutting down; send the query again in a moment")
            if len(self._queue) + len(queries) > self._max_queued:
                raise OverloadedError(f"{len(self._queue)} queries are waiting for the model; try again in a moment")
            self._queue.extend(zip(queries, futures, strict=True))
            self._changed.notify()
        return futures

    def _work(self) -> None:
        while batch := self._next_batch():
            self._answer(batch)

    def _next_batch(self) -> list[tuple[Query, Future[Embedded]]]:
        """Block until there is something to do; an empty list means closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if len(self._queue) > 1:
                self._changed.wait_for(self._is_full, timeout=self._wait)
            return [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]

    def _is_full(self) -> bool:
        return self._closed or len(self._queue) >= self._batch_size

    def _answer(self, batch: Sequence[tuple[Query, Future[Embedded]]]) -> None:
        try:
            vectors, boxes = self._embedder.embed_queries([query for query, _ in batch])
        except Exception as error:  # whatever the model raised belongs to the caller who waits for it
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for job in batch:
                self._answer([job])
            return
        for (_, future), vector, box in zip(batch, vectors, boxes, strict=True):
            future.set_result((vector, box))
