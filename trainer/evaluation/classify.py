"""Prediction tasks of the home-goods evaluation: category and attributes by label embedding (paper, section 7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.encoder import Vectors
from app.predict import TEMPERATURE
from app.schema import CATEGORY_SEPARATOR, Product, category_levels
from trainer.evaluation.gallery import Gallery, batches
from trainer.evaluation.metrics import DEPTH, rank, recall
from trainer.evaluation.tasks import MOON, Scorer

ATTRIBUTES = ("color", "material")


def prediction_rows(gallery: Gallery, scorer: Scorer) -> None:
    """Held-out products from their main picture, without and with the title; category and attributes are never fed.

    Labels are all categories and values of the catalog.
    """
    test = [item.product for item in gallery.home.products if item.split == "test" and item.product.images]
    categories = sorted({_path(product) for product in gallery.products if product.category})
    label_vectors = gallery.embedder.embed_labels(categories, "category")
    for source, titled in (("picture alone", False), ("picture + title", True)):
        vectors = _embed(gallery, test, titled, f"predictions from {source}")
        known = [row for row, product in enumerate(test) if product.category]
        similarities = vectors[known] @ label_vectors.T
        paths = [_path(test[row]) for row in known]
        for level in (1, 2):
            right = _level_hits(similarities, categories, paths, level)
            scorer.add("prediction", source, f"category level {level} top-1", {MOON: right})
        rankings, truth = rank(similarities), [{categories.index(path)} for path in paths]
        for k in (1, DEPTH):
            scorer.add("prediction", source, f"category leaf top-{k}", {MOON: recall(rankings, truth, k)})
        for key in ATTRIBUTES:
            _attribute_row(gallery, scorer, source, key, test, vectors)


def _embed(gallery: Gallery, products: Sequence[Product], titled: bool, title: str) -> Vectors:
    rows = []
    for batch in gallery.track(batches(products, gallery.settings.batch_size), title):
        bare = [Product(id=product.id, title=product.title if titled else "") for product in batch]
        rows.append(gallery.embedder.embed_products(bare, [[gallery.read(product.images[0])] for product in batch]))
    return np.concatenate(rows)


def _path(product: Product) -> str:
    return CATEGORY_SEPARATOR.join(product.category)


def _level_hits(
    similarities: NDArray[np.float32], categories: Sequence[str], truth: Sequence[str], level: int
) -> NDArray[np.float64]:
    """Per product, whether the most probable category of a level is its own.

    As on the page, a category is as probable as all that ends below it (:mod:`app.predict`).
    """
    ancestors = [category_levels(path.split(CATEGORY_SEPARATOR))[:level][-1] for path in categories]
    names = sorted(set(ancestors))
    below = np.array([[ancestor == name for name in names] for ancestor in ancestors], dtype=np.float64)
    logits = similarities.astype(np.float64) / TEMPERATURE
    found = (np.exp(logits - logits.max(axis=1, keepdims=True)) @ below).argmax(axis=1)
    own = [category_levels(path.split(CATEGORY_SEPARATOR))[:level][-1] for path in truth]
    return np.array([names[i] == name for i, name in zip(found, own, strict=True)], dtype=np.float64)


def _attribute_row(
    gallery: Gallery, scorer: Scorer, source: str, key: str, products: Sequence[Product], vectors: Vectors
) -> None:
    """Over products that have the key; any of their values is right."""
    known = [row for row, product in enumerate(products) if product.attributes.get(key)]
    if not known:
        return
    values = sorted({value for product in gallery.products for value in product.attributes.get(key, [])})
    labels = gallery.embedder.embed_labels([f"{key}: {value}" for value in values], "attribute")
    truth = [{values.index(value) for value in products[row].attributes[key]} for row in known]
    right = recall(rank(vectors[known] @ labels.T), truth, 1)
    scorer.add("prediction", source, f"{key} top-1", {MOON: right})
