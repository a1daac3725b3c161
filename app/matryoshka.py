"""Shorter vectors of the same model: the first numbers of each, brought back to unit length.

Kusupati et al., "Matryoshka Representation Learning" (2022). A model that was trained for it loses little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import Embedder, Vectors
from app.errors import ModelError
from app.schema import Box, Product, Query


def shortened(vectors: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """The first ``dim`` numbers of unit vectors of shape (..., dimensions), of unit length again.

    >>> shortened(np.array([0.36, 0.48, 0.8], dtype=np.float32), 2).round(6).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    if dim == vectors.shape[-1]:
        return vectors
    kept = vectors[..., :dim]
    return kept / np.maximum(np.linalg.norm(kept, axis=-1, keepdims=True), 1e-12)


def shortened_fingerprint(fingerprint: str, dim: int | None) -> str:
    """Fingerprint of a model's vectors cut to ``dim`` numbers; None: not cut.

    >>> shortened_fingerprint("0f3a", 256), shortened_fingerprint("0f3a", None)
    ('0f3a@256', '0f3a')
    """
    return fingerprint if dim is None else f"{fingerprint}@{dim}"


def full_fingerprint(fingerprint: str) -> str:
    """The inverse: the fingerprint of the whole vectors.

    >>> full_fingerprint("0f3a@256"), full_fingerprint("0f3a")
    ('0f3a', '0f3a')
    """
    return fingerprint.partition("@")[0]


def check_dim(dim: int | None, dimensions: int) -> None:
    """Raise ModelError if vectors are to be cut to more numbers than the ``dimensions`` they have."""
    if dim is not None and dim > dimensions:
        raise ModelError(
            f"vectors cannot be cut to {dim} numbers: the model gives {dimensions}; set MOON_DIM or --dim to less, or "
            "unset it"
        )


def with_dim(embedder: Embedder, dim: int | None) -> Embedder:
    """``embedder`` with its vectors cut to ``dim`` numbers; None: as it is. Raises ModelError if it has fewer."""
    check_dim(dim, embedder.dimensions)
    return embedder if dim is None else ShortEmbedder(embedder, dim)


class ShortEmbedder:
    """An :class:`~app.encoder.Embedder` whose vectors are cut to their first ``dim`` numbers."""

    def __init__(self, embedder: Embedder, dim: int) -> None:
        self.name = embedder.name
        self.fingerprint = shortened_fingerprint(embedder.fingerprint, dim)
        self.dimensions = dim
        self._embedder = embedder

    def embed_products(self, products: Sequence[Product], images: Sequence[Sequence[Image]]) -> Vectors:
        return shortened(self._embedder.embed_products(products, images), self.dimensions)

    def embed_queries(self, queries: Sequence[Query]) -> tuple[Vectors, list[Box | None]]:
        vectors, boxes = self._embedder.embed_queries(queries)
        return shortened(vectors, self.dimensions), boxes

    def embed_labels(self, labels: Sequence[str], segment: Literal["category", "attribute"]) -> Vectors:
        return shortened(self._embedder.embed_labels(labels, segment), self.dimensions)
