"""One query answered in several ways, to judge a build or a way of searching by eye. All of it is our decision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.encoder import Embedder
from app.errors import BadInputError, NotFoundError
from app.fusion import DEPTH, fused_matches
from app.schema import Filters, Hit, Query
from app.search import clean_text, photo_box
from app.settings import Settings
from app.store.base import Index, Manifest, Store
from app.store.live import LiveIndex

EVERYTHING = Filters()


class Way(StrEnum):
    """What a search goes by."""

    FUSED = "meaning and words"
    MEANING = "meaning"
    WORDS = "words"


class Comparison:
    """Searches the published build or a kept one, in one way. Thread-safe."""

    def __init__(self, embedder: Embedder, live: LiveIndex, store: Store, settings: Settings) -> None:
        self._embedder = embedder
        self._live = live
        self._store = store
        self._settings = settings

    def builds(self) -> list[Manifest]:
        """The builds that the query encoder's model made, newest first."""
        return [build for build in self._store.builds() if build.fingerprint == self._embedder.fingerprint]

    def search(self, query: Query, way: Way = Way.FUSED, build: str | None = None, limit: int = 12) -> list[Hit]:
        """The best products of a build, None for the published one; ``score`` is what ``way`` orders by.

        That is the fused score, the cosine similarity, or the share of the highest BM25 score that the query allows.
        Raises BadInputError for an empty query, or words without a text; NotFoundError for a build that is not kept or
        of another model; IndexUnavailableError while no build is published.
        """
        text = clean_text(query.text, self._settings.max_text_chars)
        if not text and (query.image is None or way is Way.WORDS):
            raise BadInputError("there are no words to search for; write what you are looking for")
        query = Query(text, query.image, photo_box(query))
        with self._opened(build) as index:
            vector = self._embedder.embed_queries([query])[0][0]
            if way is Way.WORDS:
                return _by_words(index, vector, text, limit)
            if way is Way.FUSED and text:
                return fused_matches(index, vector, text, EVERYTHING)(limit, 0)
            return index.search(vector, EVERYTHING, limit)

    @contextmanager
    def _opened(self, build: str | None) -> Iterator[Index]:
        with self._live.index() as published:
            if build is None or build == published.manifest.build:
                yield published
                return
        if build not in (kept.build for kept in self.builds()):
            raise NotFoundError(f"build {build} of this model is not kept any more; choose another one")
        index = self._store.open(build)
        try:
            yield index
        finally:
            index.close()


def _by_words(index: Index, vector: NDArray[np.float32], text: str, limit: int) -> list[Hit]:
    found = [candidate for candidate in index.candidates(vector, text, EVERYTHING, DEPTH) if candidate.share > 0]
    best = sorted(found, key=lambda candidate: (-candidate.share, -candidate.similarity, candidate.point))[:limit]
    products = index.at([candidate.point for candidate in best])
    return [Hit(product=product, score=candidate.share) for product, candidate in zip(products, best, strict=True)]
