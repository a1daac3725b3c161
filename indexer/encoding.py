"""Batches through the model: as large as the device takes, halved where they fail, down to the product at fault."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import CatalogEmbedder, Vectors
from app.errors import ModelError, MoonError
from app.schema import Product
from indexer.pictures import Prepared
from indexer.vectors import check_vectors, unusable

log = logging.getLogger(__name__)

_ENCODER_ERRORS = (MoonError, ValueError, RuntimeError, MemoryError)
"""What processors and torch raise on an input that they cannot handle, or have no memory for."""
_MEMORY_WORDS = ("out of memory", "allocate memory")

_CHECK_CONTENT = "check the product's texts and pictures"
_CHECK_SIZE = "give the product fewer or smaller pictures and shorter texts, or embed it where more memory is free"
_PROBE = Product(id="probe", title="chair")


@dataclass(frozen=True)
class Failure:
    """Why a product cannot be embedded, and what to do about it; ``memory``: because there was too little of it."""

    reason: str
    remedy: str = _CHECK_CONTENT
    memory: bool = False


@dataclass
class Encoded:
    """Products with the unit vector of each, and by content hash why the others have none."""

    items: list[Prepared] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)


class BatchEncoder:
    """A model that is asked for as many products at once as it has memory for; it learns how many that are."""

    def __init__(self, embedder: CatalogEmbedder) -> None:
        self._embedder = embedder
        self.max_tokens = embedder.max_tokens

    def tokens(self, item: Prepared) -> int:
        """How many tokens the model reads for a product; the others of its batch are padded to the largest."""
        return self._embedder.tokens(item.row.product, item.images)

    def encode(self, items: Sequence[Prepared]) -> Encoded:
        """Embed products; what fails together is tried in halves, so that a failure costs its product alone.

        If memory was short for a batch, later ones are no larger than what went through. Raises ModelError if the model
        is at fault: it returns the wrong shape, or fails on everything.
        """
        encoded = Encoded()
        parts, short, largest = [list(items)], False, 0
        while parts:
            part = parts.pop()
            failure = self._attempt(part, encoded)
            if failure is None:
                largest = max(largest, len(part) * max(map(self.tokens, part))) if short else 0
            elif len(part) == 1:
                encoded.failed[part[0].content] = failure
            else:
                log.warning("a batch of %d products failed (%s); trying its halves", len(part), failure.reason)
                short = short or failure.memory
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
        if largest and not any(failure.memory for failure in encoded.failed.values()):
            self.max_tokens = min(self.max_tokens, largest)
            log.warning("memory is short: batches have up to %d tokens from now on", self.max_tokens)
        if len(encoded.failed) == len(items) > 1:
            self._check_model(len(items))
        return encoded

    def _attempt(self, items: Sequence[Prepared], encoded: Encoded) -> Failure | None:
        """Returns why nothing could be embedded, without the traceback: it holds what took the memory."""
        try:
            vectors = self._vectors([item.row.product for item in items], [item.images for item in items])
        except ModelError:
            raise
        except _ENCODER_ERRORS as error:
            return _failure(error)
        for item, vector, is_bad in zip(items, vectors, unusable(vectors), strict=True):
            if is_bad:
                encoded.failed[item.content] = Failure("the model gave a vector without direction")
            else:
                encoded.items.append(item)
                encoded.vectors.append(vector)
        return None

    def _check_model(self, failed: int) -> None:
        """Whether it is the products' fault that all of a batch failed shows with one that any model can embed."""
        try:
            reason = "its vector has no direction" if unusable(self._vectors([_PROBE], [[]]))[0] else ""
        except _ENCODER_ERRORS as error:
            reason = str(error)
        if reason:
            raise ModelError(f"all {failed} products of a batch failed, and so does a plain title: {reason}")

    def _vectors(self, products: Sequence[Product], images: Sequence[Sequence[Image]]) -> Vectors:
        vectors = self._embedder.embed_products(products, images)
        check_vectors(vectors, len(products), self._embedder.dimensions)
        return vectors


def _failure(error: Exception) -> Failure:
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _MEMORY_WORDS):
        return Failure("the model has too little memory for it", _CHECK_SIZE, memory=True)
    return Failure(f"the model cannot embed it ({error})")
