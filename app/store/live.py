"""The published build of a serving process, exchanged under running requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.errors import IndexUnavailableError, ModelError, MoonError
from app.store.base import Index, Store

log = logging.getLogger(__name__)


@dataclass
class _Open:
    """An open build, how many requests read it, and whether the last of them has to close it."""

    index: Index
    readers: int = 0
    retired: bool = False


class LiveIndex:
    """Hands out the published build and follows the store to each newly published one. Thread-safe.

    ``fingerprint`` is that of the query encoder; a build of another model is never handed out. ``check_seconds`` is the
    shortest time between two looks at what is published. Example::

        with live.index() as index:
            hits = index.search(vector, Filters(), limit=10)
    """

    def __init__(self, store: Store, fingerprint: str, check_seconds: float = 1.0) -> None:
        self._store = store
        self._fingerprint = fingerprint
        self._check_seconds = check_seconds
        self._next_check = 0.0
        self._check = threading.Lock()
        self._change = threading.Lock()
        self._current: _Open | None = None
        self._refused: str | None = None
        self._last_error = ""

    @contextmanager
    def index(self) -> Iterator[Index]:
        """The published build, which stays open until the block ends.

        Raises IndexUnavailableError if nothing is published, ModelError if the only build is of another model.
        """
        opened = self._acquire()
        try:
            yield opened.index
        finally:
            self._release(opened)

    def close(self) -> None:
        """Close the build once its last reader is done."""
        self._replace(None)

    def _acquire(self) -> _Open:
        self._follow()
        with self._change:
            if self._current is None:
                raise IndexUnavailableError("no index is published yet; run `indexer rebuild CATALOG`")
            self._current.readers += 1
            return self._current

    def _release(self, opened: _Open) -> None:
        with self._change:
            opened.readers -= 1
            last = opened.retired and opened.readers == 0
        if last:
            opened.index.close()

    def _replace(self, index: Index | None) -> None:
        with self._change:
            old, self._current = self._current, None if index is None else _Open(index)
            if old is None:
                return
            old.retired = True
            unused = old.readers == 0
        if unused:
            old.index.close()

    def _follow(self) -> None:
        """Open the published build if it is another one; meanwhile other threads go on with the one they have."""
        serving = self._current
        if serving is not None and time.monotonic() < self._next_check:
            return
        if not self._check.acquire(blocking=serving is None):
            return
        try:
            serving = self._current
            if serving is None or time.monotonic() >= self._next_check:
                self._open_published(serving)
                self._last_error = ""
        except MoonError as error:
            if serving is None:
                raise
            if str(error) != self._last_error:  # once, not with every look
                log.error("still serving build %s: %s", serving.index.manifest.build, error)
            self._last_error = str(error)
        finally:
            self._next_check = time.monotonic() + self._check_seconds
            self._check.release()

    def _open_published(self, serving: _Open | None) -> None:
        build = self._store.published()
        if build is None or (serving is not None and build in (serving.index.manifest.build, self._refused)):
            return
        index = self._store.open(build)
        if index.manifest.fingerprint != self._fingerprint:
            index.close()
            self._refused = build
            raise ModelError(
                f"build {build} was made with model {index.manifest.model} ({index.manifest.fingerprint}), the query "
                f"encoder is {self._fingerprint}; set MOON_MODEL, MOON_DETECTOR, MOON_KEEP_VISUAL_TOKENS and MOON_DIM "
                "as they were, or run `indexer rebuild CATALOG`"
            )
        log.info("serving build %s with %d products", build, index.manifest.products)
        self._replace(index)
