"""The objects that answer requests, put together once per process, and whether they are ready to."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import Self

from PIL import Image

from app.batching import BatchedEmbedder
from app.calibration import UNCALIBRATED, Calibration, read_calibration
from app.encoder import Embedder
from app.errors import MoonError
from app.matryoshka import with_dim
from app.metrics import Metrics
from app.photos import Photos
from app.picture_files import catalog_pictures
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

    def __init__(
        self, settings: Settings, embedder: Embedder, store: Store, calibration: Calibration = UNCALIBRATED
    ) -> None:
        self.settings = settings
        self.store = store
        self.metrics = Metrics()
        self.embedder = BatchedEmbedder(
            embedder, settings.batch_size, settings.batch_wait_ms, settings.max_wait_ms, metrics=self.metrics
        )
        self.photos = Photos(settings, self.metrics)
        self.pictures = catalog_pictures(settings)
        self.live = LiveIndex(store, embedder.fingerprint)
        self.engine = SearchEngine(self.embedder, self.live, settings, calibration, self.metrics.observe)
        self.predictor = Predictor(self.embedder, self.live, settings, calibration, self.metrics.observe)
        self.draining = False
        """Set when the server is told to stop: requests in work are finished, new ones refused."""
        self.requests_in_work = 0
        """Of the HTTP API, counted by app/guard.py."""
        self.metrics.in_work.set_function(lambda: self.requests_in_work)
        self._model_is_warm = False
        self._warm_build: str | None = None
        self._last_reason = ""
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Load the model and open the store. Raises ModelError for a checkpoint or calibration that cannot be."""
        from app.moon import checkpoint_folder, load_encoder

        log.info("model: %s (%s)", settings.model, _origin(settings, "model"))
        embedder = with_dim(load_encoder(settings), settings.dim)
        calibration = read_calibration(checkpoint_folder(settings.model), embedder.fingerprint)
        where = settings.data if settings.store == "edge" else settings.qdrant_url
        log.info("store: %s at %s (%s)", settings.store, where, _origin(settings, "store"))
        return cls(settings, embedder, open_store(settings), calibration)

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
                with self.metrics.paused():
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
        """Ready once the model and a published index are warmed up, until the server is told to stop."""
        reasons = [] if self._model_is_warm else ["the model is warming up"]
        if self.draining:
            reasons.append("the server is stopping")
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

    def update_metrics(self) -> None:
        """Set what is known of the build that is being searched; without one it is not a number."""
        state = self.health()
        age = float("nan") if state.created is None else (datetime.now(UTC) - state.created).total_seconds()
        self.metrics.build_age.set(age)
        self.metrics.products.set(state.products)

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
