"""The objects that answer requests, put together once per process, and whether they are ready to."""

from __future__ import annotations

import logging
import threading
from typing import Self

from PIL import Image

from app.batching import BatchedEmbedder
from app.encoder import Embedder
from app.errors import MoonError
from app.matryoshka import with_dim
from app.predict import Predictor
from app.schema import Query
from app.search import SearchEngine
from app.settings import Settings
from app.status import Health
from app.store import open_store
from app.store.base import Store
from app.store.live import LiveIndex

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0


class Service:
    """Model, store, search and prediction of one process: what the HTTP API and the page are built on."""

    def __init__(self, settings: Settings, embedder: Embedder, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.embedder = BatchedEmbedder(embedder, settings.batch_size, settings.batch_wait_ms)
        self.live = LiveIndex(store, embedder.fingerprint)
        self.engine = SearchEngine(self.embedder, self.live, settings)
        self.predictor = Predictor(self.embedder, self.live, settings)
        self._model_is_warm = False
        self._warm_build: str | None = None
        self._last_reason = ""
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Load the model and open the store. Raises ModelError for a checkpoint that cannot be loaded."""
        from app.moon import load_encoder

        log.info("model: %s (%s)", settings.model, _origin(settings, "model"))
        embedder = with_dim(load_encoder(settings), settings.dim)
        where = settings.data if settings.store == "edge" else settings.qdrant_url
        log.info("store: %s at %s (%s)", settings.store, where, _origin(settings, "store"))
        return cls(settings, embedder, open_store(settings))

    def start(self) -> None:
        """Warm up, then keep doing so in the background whenever a build is published."""
        self.warm_up()
        self._watcher = threading.Thread(target=self._watch, name="watch-index", daemon=True)
        self._watcher.start()

    def warm_up(self) -> None:
        """Run every kind of query once, and again on each new build, so that nobody's first query is the slow one.

        Without a usable index, only the model is warmed up; :meth:`health` says what is missing.
        """
        photo = Image.radial_gradient("L").convert("RGB")
        queries = [Query(text="chair"), Query(image=photo), Query(text="in red", image=photo)]
        if not self._model_is_warm:
            self.embedder.embed_queries(queries)
            self._model_is_warm = True
        try:
            with self.live.index() as index:
                build = index.manifest.build
            if build != self._warm_build:
                for query in queries:
                    self.engine.search(query)
                self.predictor.predict(image=photo, title="chair")
                self._warm_build = build
            reason = ""
        except MoonError as error:
            reason = str(error)
        if reason and reason != self._last_reason:
            log.warning("not answering queries: %s", reason)
        self._last_reason = reason

    def health(self) -> Health:
        """Ready once the model and a published index are warmed up; a new build does not take that back."""
        reasons = [] if self._model_is_warm else ["the model is warming up"]
        try:
            with self.live.index() as index:
                manifest = index.manifest
        except MoonError as error:
            return Health(ready=False, reasons=[*reasons, str(error)], model=self.embedder.name)
        if self._warm_build is None:
            reasons.append("the index is warming up")
        return Health(
            ready=not reasons,
            reasons=reasons,
            model=self.embedder.name,
            build=manifest.build,
            products=manifest.products,
            created=manifest.created,
        )

    def close(self) -> None:
        """Stop the background work, answer what is queued, and release the index."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        self.embedder.close()
        self.live.close()

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_SECONDS):
            try:
                self.warm_up()
            except Exception:  # the watch must outlive any failure of one build; requests report theirs themselves
                log.exception("warm-up failed; trying again")


def _origin(settings: Settings, name: str) -> str:
    return f"set by MOON_{name.upper()}" if name in settings.model_fields_set else "default"
