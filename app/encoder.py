"""The interface between models and everything else: products, queries and labels in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.schema import Box, Product, Query

Vectors = NDArray[np.float32]
"""Rows of unit length, shape (items, dimensions)."""


class Embedder(Protocol):
    """What the indexer, the search engine and the prediction need of a model. Implementations are thread-safe."""

    @property
    def name(self) -> str:
        """The model's name as shown to people."""

    @property
    def fingerprint(self) -> str:
        """A short hash that changes whenever the vector of any product could change (weights, template, pixels ...)."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""

    def embed_products(self, products: Sequence[Product], images: Sequence[Sequence[Image]]) -> Vectors:
        """One vector per product from its pictures (decoded, RGB) and its title, category and attributes."""

    def embed_queries(self, queries: Sequence[Query]) -> tuple[Vectors, list[Box | None]]:
        """One vector per query, and the core product box that was used on its photo (None: the whole photo)."""

    def embed_labels(self, labels: Sequence[str], segment: Literal["category", "attribute"]) -> Vectors:
        """One vector per category path ("Furniture > Sofas") or attribute value ("color: red"), for predictions."""


class CatalogEmbedder(Embedder, Protocol):
    """An embedder that says how many products it should be given at once; what the indexer needs of a model."""

    @property
    def max_tokens(self) -> int:
        """How many tokens the device takes in one call: products times the tokens of the largest, as all are padded."""

    def tokens(self, product: Product, images: Sequence[Image]) -> int:
        """About how many tokens the model reads for a product, text and pictures."""
