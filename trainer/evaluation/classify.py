"""Prediction tasks of the home-goods evaluation: category and attributes by label embedding (paper, section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import Vectors
from app.predict import VOTERS, softmax, with_votes
from app.schema import CATEGORY_SEPARATOR, Product, category_levels
from trainer.evaluation.baselines import neighbour_vote
from trainer.evaluation.gallery import Gallery, batches, crop
from trainer.evaluation.metrics import DEPTH, rank, recall
from trainer.evaluation.palette import Palette, mean_colour
from trainer.evaluation.scores import MOON, PALETTE, VOTE, Scorer, Values

PREDICTION = "prediction"
PICTURE, TITLED, PHOTO = "picture alone", "picture + title", "customer photo, true box"
ATTRIBUTES = ("color", "material")
COLOUR = "color"


@dataclass(frozen=True)
class _Shown:
    """Held-out products and what of each is shown: one picture, and its title or nothing."""

    source: str
    products: Sequence[Product]
    vectors: Vectors
    colours: NDArray[np.float64]


def prediction_rows(gallery: Gallery, scorer: Scorer) -> None:
    """Held-out products from their main picture, without and with the title, and from the customer's photo of them.

    Category and attributes are never fed. Labels are all categories and values of the catalog. Neighbours that vote and
    the palette's centres are of training products alone.
    """
    categories = sorted({_path(product) for product in gallery.products if product.category})
    labels = gallery.embedder.embed_labels(categories, "category")
    palette = _palette(gallery)
    for shown in _shown(gallery):
        _category_rows(gallery, scorer, shown, categories, labels)
        for key in ATTRIBUTES:
            _attribute_row(gallery, scorer, shown, key, palette)


def category_metric(level: int) -> str:
    return f"category level {level} top-1"


def attribute_metric(key: str) -> str:
    return f"{key} top-1"


def _shown(gallery: Gallery) -> list[_Shown]:
    test = [item.product for item in gallery.home.products if item.split == "test" and item.product.images]
    pictures = [gallery.read(product.images[0]) for product in test]
    colours = gallery.colours[[gallery.rows[product.id] for product in test]]
    photos = [photo for photo in gallery.home.photos if photo.split == "test"]
    bought = [gallery.products[gallery.rows[photo.product_id]] for photo in photos]
    crops = [crop(gallery.read(photo.path), photo.box) for photo in photos]
    return [
        _Shown(PICTURE, test, _embed(gallery, PICTURE, pictures, [""] * len(test)), colours),
        _Shown(TITLED, test, _embed(gallery, TITLED, pictures, [product.title for product in test]), colours),
        _Shown(
            PHOTO,
            bought,
            _embed(gallery, PHOTO, crops, [""] * len(crops)),
            np.stack([mean_colour(image) for image in crops]),
        ),
    ]


def _embed(gallery: Gallery, source: str, images: Sequence[Image], titles: Sequence[str]) -> Vectors:
    rows = []
    pairs = list(zip(images, titles, strict=True))
    for batch in gallery.track(batches(pairs, gallery.settings.batch_size), f"predictions from {source}"):
        bare = [Product(id="?", title=title) for _, title in batch]
        rows.append(gallery.embedder.embed_products(bare, [[image] for image, _ in batch]))
    return np.concatenate(rows)


def _palette(gallery: Gallery) -> Palette | None:
    """Of the training products that have a picture, by the first of their colours, which is the main one."""
    known = [row for row in gallery.training if gallery.products[row].attributes.get(COLOUR)]
    known = [row for row in known if gallery.products[row].images]
    names = [gallery.products[row].attributes[COLOUR][0] for row in known]
    return Palette(gallery.colours[known], names) if known else None


def _path(product: Product) -> str:
    return CATEGORY_SEPARATOR.join(product.category)


def _at(path: str, level: int) -> str:
    """The ancestor of a category at a level, or its end if that comes first."""
    return category_levels(path.split(CATEGORY_SEPARATOR))[:level][-1]


def _category_rows(gallery: Gallery, scorer: Scorer, shown: _Shown, categories: Sequence[str], labels: Vectors) -> None:
    known = [row for row, product in enumerate(shown.products) if product.category]
    vectors = shown.vectors[known]
    paths = [_path(shown.products[row]) for row in known]
    voters = [row for row in gallery.training if gallery.products[row].category]
    ends = [_path(gallery.products[row]) for row in voters]
    neighbours = vectors @ gallery.vectors[voters].T
    probabilities = _probabilities(vectors @ labels.T, categories, neighbours, ends)
    for level in (1, 2):
        truth = [_at(path, level) for path in paths]
        vote = neighbour_vote(neighbours, [_at(path, level) for path in ends])
        found = {MOON: _most_probable(probabilities, categories, level), VOTE: vote}
        right = {system: _equal(answers, truth) for system, answers in found.items()}
        scorer.add(PREDICTION, shown.source, category_metric(level), right)
    rankings, leaves = rank(probabilities), [{categories.index(path)} for path in paths]
    for k in (1, DEPTH):
        scorer.add(PREDICTION, shown.source, f"category leaf top-{k}", {MOON: recall(rankings, leaves, k)})


def _probabilities(
    similarities: NDArray[np.float32], categories: Sequence[str], neighbours: NDArray[np.float32], ends: Sequence[str]
) -> NDArray[np.float64]:
    """Of categories (products, categories), as on the page (:mod:`app.predict`): their labels, and neighbours' votes.

    ``neighbours`` (products, voters) are similarities to products that end at the categories ``ends``.
    """
    rows = []
    for own, near in zip(similarities, neighbours, strict=True):
        nearest = [(ends[place], float(near[place])) for place in np.argsort(-near)[:VOTERS]]
        labels = dict(zip(categories, softmax(own).tolist(), strict=True))
        rows.append(list(with_votes(labels, nearest).values()))
    return np.array(rows)


def _most_probable(probabilities: NDArray[np.float64], categories: Sequence[str], level: int) -> list[str]:
    """Per product the most probable category of a level: as probable as all that ends below it."""
    ancestors = [_at(path, level) for path in categories]
    names = sorted(set(ancestors))
    below = np.array([[ancestor == name for name in names] for ancestor in ancestors], dtype=np.float64)
    return [names[place] for place in (probabilities @ below).argmax(axis=1)]


def _attribute_row(gallery: Gallery, scorer: Scorer, shown: _Shown, key: str, palette: Palette | None) -> None:
    """Over products that have the key; any of their values is right."""
    known = [row for row, product in enumerate(shown.products) if product.attributes.get(key)]
    if not known:
        return
    values = sorted({value for product in gallery.products for value in product.attributes.get(key, [])})
    labels = gallery.embedder.embed_labels([f"{key}: {value}" for value in values], "attribute")
    truth = [shown.products[row].attributes[key] for row in known]
    best = (shown.vectors[known] @ labels.T).argmax(axis=1)
    right: Values = {MOON: _among([values[place] for place in best], truth)}
    if key == COLOUR and palette is not None:
        right = {**right, PALETTE: _among(palette.names(shown.colours[known]), truth)}
    scorer.add(PREDICTION, shown.source, attribute_metric(key), right)


def _equal(answers: Sequence[str], truth: Sequence[str]) -> NDArray[np.float64]:
    return _among(answers, [[own] for own in truth])


def _among(answers: Sequence[str], truth: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    return np.array([answer in own for answer, own in zip(answers, truth, strict=True)], dtype=np.float64)
