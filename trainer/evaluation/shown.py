"""Products of one split as predictions are asked for them: by a picture, by words, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.calibration import Evidence
from app.encoder import Vectors
from app.schema import Product
from trainer.data.record import Split
from trainer.evaluation.gallery import Gallery, batches, crop
from trainer.evaluation.palette import mean_colour

PICTURE, TITLED, PHOTO = "picture alone", "picture + title", "customer photo, true box"
TITLE, NAME, NAMED = "title alone", "name alone", "picture + name"


@dataclass(frozen=True)
class Shown:
    """Products, the vectors (products, dimensions) of what is shown of each, and the pictures' mean colours in CIELAB.

    ``colours`` (products, 3) is None where no picture is shown.
    """

    source: str
    evidence: Evidence
    products: Sequence[Product]
    vectors: Vectors
    colours: NDArray[np.float64] | None


def shown(gallery: Gallery, split: Split) -> list[Shown]:
    """Products of the split by main picture, title and English name, and by the customers' photos of them.

    Titles hold the colour, names do not. Category and attributes are never shown.
    """
    items = [item for item in gallery.home.products if item.split == split and item.product.images]
    products = [item.product for item in items]
    pictures = [[gallery.read(product.images[0])] for product in products]
    colours = gallery.colours[[gallery.rows[product.id] for product in products]]
    titles, names = [product.title for product in products], [dict(item.names)["en"] for item in items]
    photos = [photo for photo in gallery.home.photos if photo.split == split]
    bought = [gallery.products[gallery.rows[photo.product_id]] for photo in photos]
    crops = [crop(gallery.read(photo.path), photo.box) for photo in photos]
    seen = np.stack([mean_colour(image) for image in crops])
    nothing: list[list[Image]] = [[] for _ in products]

    def embed(source: str, images: Sequence[Sequence[Image]], words: Sequence[str]) -> Vectors:
        rows = []
        pairs = list(zip(images, words, strict=True))
        for batch in gallery.track(batches(pairs, gallery.settings.batch_size), f"predictions from {source}"):
            bare = [Product(id="?", title=text) for _, text in batch]
            rows.append(gallery.embedder.embed_products(bare, [own for own, _ in batch]))
        return np.concatenate(rows)

    without = [""] * len(products)
    return [
        Shown(PICTURE, "photo", products, embed(PICTURE, pictures, without), colours),
        Shown(TITLED, "both", products, embed(TITLED, pictures, titles), colours),
        Shown(NAMED, "both", products, embed(NAMED, pictures, names), colours),
        Shown(PHOTO, "photo", bought, embed(PHOTO, [[image] for image in crops], [""] * len(crops)), seen),
        Shown(TITLE, "text", products, embed(TITLE, nothing, titles), None),
        Shown(NAME, "text", products, embed(NAME, nothing, names), None),
    ]
