"""One query answered in several ways, to judge a build or a way of searching by eye. All of it is our decision."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.balance import BESIDE_PHOTO
from app.encoder import Embedder
from app.errors import BadInputError, ModelError, NotFoundError
from app.fusion import DEPTH, fused_matches
from app.matryoshka import full_fingerprint, with_dim
from app.schema import Filters, Hit, Query
from app.search import clean_text, photo_box
from app.settings import Settings
from app.store.base import Index, Manifest, Store
from app.store.live import LiveIndex

log = logging.getLogger(__name__)

EVERYTHING = Filters()


class Way(StrEnum):
    """What a search goes by."""

    FUSED = "meaning and words"
    MEANING = "meaning"
    WORDS = "words"


class SecondModel:
    """The checkpoint of MOON_COMPARE_MODEL: loaded when a comparison first needs it, then kept. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loading = threading.Lock()
        self._embedder: Embedder | None = None

    def embedder(self) -> Embedder | None:
        """Its whole vectors, on the device and by the rules of the main model; None if the setting is unset.

        Raises ModelError if it cannot be loaded. The next call tries again.
        """
        path = self._settings.compare_model
        if not path:
            return None
        with self._loading:
            if self._embedder is None:
                from app.moon import load_encoder

                log.info("loading the second model, for comparisons: %s", path)
                try:
                    self._embedder = load_encoder(self._settings.model_copy(update={"model": path}))
                except (ModelError, RuntimeError) as error:  # such as a GPU that has no room for a second one
                    raise ModelError(f"the model of MOON_COMPARE_MODEL cannot be used: {error}") from error
            return self._embedder


class Comparison:
    """Searches the published build or a kept one, in one way. Thread-safe."""

    def __init__(self, embedder: Embedder, live: LiveIndex, store: Store, settings: Settings) -> None:
        self._embedder = embedder
        self._live = live
        self._store = store
        self._settings = settings
        self._second = SecondModel(settings)

    def others(self) -> list[Manifest]:
        """Every kept build but the one that is searched, newest first.

        Raises IndexUnavailableError while no build is published, ModelError if it is of another model.
        """
        with self._live.index() as index:
            searched = index.manifest.build
        return [build for build in self._store.builds() if build.build != searched]

    def is_of_main_model(self, build: Manifest) -> bool:
        """Whether the model that answers searches made it."""
        return _made(self._embedder, build)

    def search(self, query: Query, way: Way = Way.FUSED, build: str | None = None, limit: int = 12) -> list[Hit]:
        """The best products of a build, None for the published one; ``score`` is what ``way`` orders by.

        That is the fused score, the cosine similarity, or the share of the highest BM25 score that the query allows.
        A build that another model made is asked by MOON_COMPARE_MODEL. Raises BadInputError for an empty query, or
        words without a text; NotFoundError for a build that is not kept; ModelError for one whose model is neither of
        the two or cannot be loaded; IndexUnavailableError while no build is published.
        """
        text = clean_text(query.text, self._settings.max_text_chars)
        if not text and (query.image is None or way is Way.WORDS):
            raise BadInputError("there are no words to search for; write what you are looking for")
        query = Query(text, query.image, photo_box(query))
        with self._opened(build) as index:
            vector = self._embedder_of(index.manifest).embed_queries([query])[0][0]
            if way is Way.WORDS:
                return _by_words(index, vector, text, limit)
            if way is Way.FUSED and text:
                words = 1.0 if query.image is None else BESIDE_PHOTO
                return fused_matches(index, vector, text, EVERYTHING, words)(limit, 0)
            return index.search(vector, EVERYTHING, limit)

    @contextmanager
    def _opened(self, build: str | None) -> Iterator[Index]:
        with self._live.index() as published:
            if build is None or build == published.manifest.build:
                yield published
                return
        if build not in (kept.build for kept in self._store.builds()):
            raise NotFoundError("build {build} is not kept any more; choose another one", build=build)
        index = self._store.open(build)
        try:
            yield index
        finally:
            index.close()

    def _embedder_of(self, build: Manifest) -> Embedder:
        """The model that made a build, its vectors cut as the build's are."""
        if _made(self._embedder, build):
            return with_dim(self._embedder, build.dimensions)
        second = self._second.embedder()
        if second is not None and _made(second, build):
            return with_dim(second, build.dimensions)
        raise ModelError(
            f"build {build.build} was made by another model, {build.model} ({build.fingerprint}); set "
            "MOON_COMPARE_MODEL to its checkpoint, MOON_DETECTOR and MOON_KEEP_VISUAL_TOKENS to what they were, and "
            "start `app serve` again"
        )


def _made(embedder: Embedder, build: Manifest) -> bool:
    """Whether a build holds vectors of this model, or what its vectors begin with."""
    same = full_fingerprint(build.fingerprint) == full_fingerprint(embedder.fingerprint)
    return same and build.dimensions <= embedder.dimensions


def _by_words(index: Index, vector: NDArray[np.float32], text: str, limit: int) -> list[Hit]:
    found = [candidate for candidate in index.candidates(vector, text, EVERYTHING, DEPTH) if candidate.share > 0]
    best = sorted(found, key=lambda candidate: (-candidate.share, -candidate.similarity, candidate.point))[:limit]
    products = index.at([candidate.point for candidate in best])
    return [Hit(product=product, score=candidate.share) for product, candidate in zip(products, best, strict=True)]
