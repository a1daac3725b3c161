"""Shared test doubles: a tiny deterministic embedder and small pictures, so that no test needs a trained model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from typing import Literal

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from app.encoder import Vectors
from app.schema import Box, Product, Query

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


class ColourWordEmbedder:
    """Embeds mean colours and hashed words, so equal things are near and everything is exactly repeatable."""

    name = "colour-words"
    fingerprint = "colour-words-1"
    dimensions = 64
    max_tokens = 4
    """So many products at once, each of which counts as one token."""

    def __init__(self) -> None:
        self.embedded_products = 0

    def embed_products(self, products: Sequence[Product], images: Sequence[Sequence[Image.Image]]) -> Vectors:
        self.embedded_products += len(products)
        words = [" ".join([p.title, *p.category, *chain(*p.attributes.values())]) for p in products]
        return np.stack([_embed(text, pictures) for text, pictures in zip(words, images, strict=True)])

    def tokens(self, product: Product, images: Sequence[Image.Image]) -> int:
        return 1

    def embed_queries(self, queries: Sequence[Query]) -> tuple[Vectors, list[Box | None]]:
        vectors = [_embed(q.text, [q.image] if q.image is not None else []) for q in queries]
        return np.stack(vectors), [q.box for q in queries]

    def embed_labels(self, labels: Sequence[str], segment: Literal["category", "attribute"]) -> Vectors:
        return np.stack([_embed(label, []) for label in labels])


def _embed(text: str, images: Sequence[Image.Image]) -> np.ndarray:
    vector = np.full(64, 1e-3, dtype=np.float32)
    for word in text.lower().replace(":", " ").replace(">", " ").split():
        vector[3 + int(hashlib.sha256(word.encode()).hexdigest(), 16) % 61] += 1.0
    for image in images:
        vector[:3] += np.asarray(image.convert("RGB").resize((1, 1)), dtype=np.float32)[0, 0] / 255.0
    return vector / np.linalg.norm(vector)


@pytest.fixture
def embedder() -> ColourWordEmbedder:
    return ColourWordEmbedder()
