"""The catalog as the gallery of an evaluation, embedded by MOON and by the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.calibration import UNCALIBRATED, Calibration
from app.encoder import Embedder, Vectors
from app.images import read_image
from app.moon.crops import cropped, usable_box
from app.schema import Box, Query
from app.settings import Settings
from trainer.data.home import HomeProduct, HomeSet
from trainer.evaluation.asked import Asked
from trainer.evaluation.baselines import BM25, RawVision
from trainer.evaluation.fused import FusedSearch
from trainer.evaluation.metrics import Rankings, rank
from trainer.evaluation.palette import mean_colour
from trainer.evaluation.progress import Track, silently


class Gallery:
    """All products with all their fields and pictures, and rankings of them by each system.

    Rankings hold rows of ``home.products``. ``vision`` is None for models whose tower has no pooled output. ``vectors``
    (products, dimensions) are MOON's, ``colours`` (products, 3) the mean colours of main pictures in CIELAB,
    ``training`` the rows of products that training may learn from. ``asked`` are queries that tasks
    leave for later ones.
    """

    def __init__(
        self,
        home: HomeSet,
        embedder: Embedder,
        vision: RawVision | None,
        settings: Settings,
        track: Track = silently,
        calibration: Calibration = UNCALIBRATED,
    ) -> None:
        self.home, self.embedder, self.vision, self.settings, self.track = home, embedder, vision, settings, track
        self.calibration = calibration
        self.asked: list[Asked] = []
        self.products = [item.product for item in home.products]
        self.rows = {product.id: row for row, product in enumerate(self.products)}
        self._labels: dict[tuple[str, str], NDArray[np.float32]] = {}
        self.bm25 = BM25(self.products)
        self.bm25_in_all_languages = BM25(self.products, all_languages=True)
        order = held_out_last(home.products)
        vectors, pictures, colours = [], [], []
        for rows in track(batches(order, settings.batch_size), "catalog"):
            batch = [self.products[row] for row in rows]
            images = [[self.read(path) for path in product.images] for product in batch]
            vectors.append(embedder.embed_products(batch, images))
            colours += [mean_colour(own[0]) if own else np.full(3, np.nan) for own in images]
            if vision:
                pictures.append(vision.embed([image for own in images for image in own]))
        places = np.argsort(order)
        self.vectors: Vectors = np.concatenate(vectors)[places]
        self.colours: NDArray[np.float64] = np.stack(colours)[places]
        owners = [row for row in order for _ in self.products[row].images]
        self._pictures = np.concatenate(pictures)[np.argsort(owners, kind="stable")] if pictures else None
        self._owners = sorted(owners)
        self.training = [row for row, item in enumerate(home.products) if item.split == "train"]

    def read(self, path: str) -> Image:
        """A picture of the set, decoded like any picture of a catalog."""
        location = str(self.home.root / path)
        limits = {"max_bytes": self.settings.max_image_bytes, "max_pixels": self.settings.max_image_pixels}
        return read_image(location, **limits)[1]

    def embed(self, queries: Sequence[Query], title: str) -> tuple[Vectors, list[Box | None]]:
        """Vectors of queries, and the core product boxes that were used, by the product's own path."""
        vectors, boxes = [], []
        for batch in self.track(batches(queries, self.settings.batch_size), title):
            found, used = self.embedder.embed_queries(batch)
            vectors.append(found)
            boxes += used
        return np.concatenate(vectors), boxes

    def label_vectors(self, labels: Sequence[str], segment: Literal["category", "attribute"]) -> Vectors:
        """Vectors of labels (labels, dimensions), each embedded once."""
        new = [label for label in labels if (segment, label) not in self._labels]
        if new:
            found = self.embedder.embed_labels(new, segment)
            self._labels.update(zip([(segment, label) for label in new], found, strict=True))
        return np.stack([self._labels[segment, label] for label in labels])

    def by_moon(self, queries: Sequence[Query], title: str) -> Rankings:
        return self.nearest(self.embed(queries, title)[0])

    def nearest(self, vectors: Vectors) -> Rankings:
        """Products by similarity to MOON vectors (queries, dimensions)."""
        return rank(vectors @ self.vectors.T)

    def by_fusion(self, texts: Sequence[str], vectors: Vectors, *, beside_photos: bool = False) -> Rankings:
        """Products by the shop's own search, from the words and the MOON vectors (queries, dimensions) of queries."""
        with FusedSearch(self.products, self.vectors) as search:
            return search.rank(texts, vectors, beside_photos=beside_photos)

    def by_vision(self, images: Sequence[Image]) -> Rankings | None:
        """Products by their nearest picture; None without the raw vision baseline."""
        if self.vision is None or self._pictures is None:
            return None
        return self.vision.nearest(self.vision.embed(images), self._pictures, self._owners)


def held_out_last(products: Sequence[HomeProduct]) -> list[int]:
    """Rows of products, those of the test split last: their pictures are asked about next and are still remembered."""
    return sorted(range(len(products)), key=lambda row: products[row].split == "test")


def whole(image: Image) -> Query:
    """A photo whose box is all of it, so that nothing is cropped."""
    return Query(image=image, box=(0.0, 0.0, float(image.width), float(image.height)))


def crop(image: Image, box: Box) -> Image:
    """The part of a photo that the embedder crops for a shopper's box."""
    used = usable_box(box, *image.size)
    return image if used is None else cropped(image, used)


def batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """``items`` in runs of at most ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]
