"""A MOON checkpoint as an evaluated model: the embedder of the product search itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from app.moon.embedder import MAX_PICTURES, MoonEmbedder, load_encoder
from app.moon.prompt import model_input, product_text, query_text
from app.schema import Product, Query
from app.settings import Settings
from trainer.evaluation.models.base import Content, Segment, Vectors
from trainer.evaluation.models.checkpoint import MOON, Checkpoint


class MoonModel:
    """Given crops stand beside their pictures (paper, section 4); without any, the embedder's detector looks for them.

    A query of words and at most one picture is embedded like a shopper's, everything else like a product.
    """

    family = MOON

    def __init__(self, embedder: MoonEmbedder) -> None:
        self.name, self.dimensions = embedder.name, embedder.dimensions
        self._embedder = embedder

    def embed(self, contents: Sequence[Content], *, is_query: bool) -> Vectors:
        vectors = np.zeros((len(contents), self.dimensions), dtype=np.float32)
        shoppers = [is_query and _is_shoppers(content) for content in contents]
        cropped = [bool(content.crops) for content in contents]
        for crops, shopper in sorted(set(zip(cropped, shoppers, strict=True))):
            rows = [row for row in range(len(contents)) if (cropped[row], shoppers[row]) == (crops, shopper)]
            own = [contents[row] for row in rows]
            vectors[rows] = self._cropped(own, shopper) if crops else self._detected(own, shopper)
        return vectors

    def embed_labels(self, labels: Sequence[str], segment: Segment) -> Vectors:
        return self._embedder.embed_labels(labels, segment)

    def _detected(self, contents: Sequence[Content], shopper: bool) -> Vectors:
        if shopper:
            queries = [Query(content.title, next(iter(content.images), None)) for content in contents]
            return self._embedder.embed_queries(queries)[0]
        return self._embedder.embed_products(
            [_product(content) for content in contents], [content.images for content in contents]
        )

    def _cropped(self, contents: Sequence[Content], shopper: bool) -> Vectors:
        texts = [query_text(content.title) if shopper else product_text(_product(content)) for content in contents]
        return self._embedder.embed_inputs(
            [model_input(_beside_crops(content), text) for content, text in zip(contents, texts, strict=True)]
        )


def open_moon(checkpoint: Checkpoint, settings: Settings) -> MoonModel:
    """Load a MOON checkpoint with the device and detector of the settings."""
    return MoonModel(load_encoder(settings.model_copy(update={"model": checkpoint.name})))


def _is_shoppers(content: Content) -> bool:
    return len(content.images) < 2 and not content.category and not content.attributes


def _product(content: Content) -> Product:
    attributes = {key: list(values) for key, values in content.attributes.items()}
    return Product(id="evaluated", title=content.title, category=list(content.category), attributes=attributes)


def _beside_crops(content: Content) -> list[Image]:
    pairs = list(zip(content.images, content.crops, strict=True))[:MAX_PICTURES]
    return [part for pair in pairs for part in pair if part is not None]
