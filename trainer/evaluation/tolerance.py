"""What missing pictures and words cost the search of the home-goods set, and what completion brings back (ours).

Products of one split lack a field, the others of the gallery are whole; or queries of photo and name lack one of them.
The shop's own search answers. Completion (:mod:`app.complete`) sees training products alone, so nothing that is looked
for votes for itself. Of products, titles in other languages are missing with the title.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL.Image import Image

from app.complete import CATEGORY, LEAST_CONFIDENCE, TITLE, Completed, Completer, Generator
from app.encoder import Vectors
from app.predict import Predictor
from app.schema import Product, Query
from app.store.live import LiveIndex
from trainer.data.home import Photo
from trainer.data.record import Split
from trainer.evaluation.fillings import Filling, fillings
from trainer.evaluation.fused import GALLERY, FusedSearch, stored
from trainer.evaluation.gallery import Gallery, batches
from trainer.evaluation.labelled import values_of
from trainer.evaluation.metrics import DEPTH, Rankings, Score, bootstrap, recall

CUTOFFS = (1, DEPTH)
PICTURE, ATTRIBUTES, WORDS = "picture", "attributes", "all words"
LACKING = (PICTURE, TITLE, CATEGORY, ATTRIBUTES, WORDS)
PHOTO, NAME, BOTH = "photo", "name", "photo + name"


@dataclass(frozen=True)
class Tolerance:
    """R@k of ``query`` over ``n`` queries while ``who`` lacks ``field``; ``lost`` and ``recovered`` are differences.

    Differences are of pairs, query by query. The last two are None where nothing can be completed.
    """

    who: str
    field: str
    query: str
    k: int
    n: int
    whole: Score
    without: Score
    lost: Score
    completed: Score | None
    recovered: Score | None


@dataclass(frozen=True)
class _Asked:
    kind: str
    queries: Sequence[Query]
    right: Sequence[Collection[int]]


class ToleranceTest:
    """Measures one split of a gallery; ``limit`` draws that many designs of it at random."""

    def __init__(self, gallery: Gallery, split: Split, seed: int, limit: int | None = None) -> None:
        self._gallery, self._seed = gallery, seed
        items = gallery.home.products
        groups = sorted({_design(item.product) for item in items if item.split == split})
        if limit is not None:
            groups = list(np.random.default_rng(seed).permutation(groups)[:limit])
        chosen = set(groups)
        self.designs = len(chosen)
        self._names = [dict(item.names)["en"] for item in items]
        self.rows = [row for row, product in enumerate(gallery.products) if _design(product) in chosen]
        photos = [photo for photo in gallery.home.photos if photo.split == split and photo.group_id in chosen]
        self._asked = self._queries(photos)
        self._vectors = {one.kind: gallery.embed(one.queries, one.kind)[0] for one in self._asked}
        self._whole = self._found(gallery.products, gallery.vectors)

    def measure(self, completer: Completer) -> tuple[list[Tolerance], list[Filling]]:
        """All fields of products, then photo and name of queries."""
        rows: list[Tolerance] = []
        filled: list[Filling] = []
        true = [self._gallery.products[row] for row in self.rows]
        for field in LACKING:
            lacking = [_without(product, field) for product in true]
            without = self._answered(lacking)
            completed = None
            if field != PICTURE:
                done = self._completed(lacking, completer)
                filled += fillings(field, true, done, self._seed)
                completed = self._answered([one.product for one in done])
            for asked in self._asked:
                found = None if completed is None else completed[asked.kind]
                rows += self._rows("product", field, asked, self._whole[asked.kind], without[asked.kind], found)
        return [*rows, *self._of_queries(completer)], filled

    def _queries(self, photos: Sequence[Photo]) -> list[_Asked]:
        """Photos, names that no other products bear, and both; right are all SKUs of the design, or of the name."""
        gallery = self._gallery
        images = [gallery.read(photo.path) for photo in photos]
        names = [self._names[gallery.rows[photo.product_id]] for photo in photos]
        designs: dict[str, set[int]] = {}
        bearers: dict[str, set[int]] = {}
        for row, product in enumerate(gallery.products):
            designs.setdefault(_design(product), set()).add(row)
            bearers.setdefault(self._names[row], set()).add(row)
        own = [designs[photo.group_id] for photo in photos]
        alone = sorted(name for name, rows in bearers.items() if rows <= set(self.rows))
        return [
            _Asked(PHOTO, [Query(image=image) for image in images], own),
            _Asked(NAME, [Query(text=name) for name in alone], [bearers[name] for name in alone]),
            _Asked(BOTH, [Query(name, image) for name, image in zip(names, images, strict=True)], own),
        ]

    def _of_queries(self, completer: Completer) -> Iterator[Tolerance]:
        """Photo and name without the name, which completion proposes from the photo, and without the photo."""
        asked = next(one for one in self._asked if one.kind == BOTH)
        whole = self._whole[BOTH]
        by_photo = self._gallery.by_fusion([""] * len(asked.queries), self._vectors[PHOTO])
        images = [[query.image] if query.image else [] for query in asked.queries]
        done = self._completed([Product(id="?") for _ in images], completer, images)
        proposed = [Query(one.product.title, query.image) for one, query in zip(done, asked.queries, strict=True)]
        vectors, _ = self._gallery.embed(proposed, "photos with proposed titles")
        titled = self._gallery.by_fusion([query.text for query in proposed], vectors, beside_photos=True)
        yield from self._rows("query", "name", asked, whole, by_photo, titled)
        words = [Query(text=query.text) for query in asked.queries]
        by_name = self._gallery.by_fusion(
            [query.text for query in words], self._gallery.embed(words, "names without photos")[0]
        )
        yield from self._rows("query", PHOTO, asked, whole, by_name, None)

    def _rows(
        self, who: str, field: str, asked: _Asked, whole: Rankings, without: Rankings, completed: Rankings | None
    ) -> Iterator[Tolerance]:
        for k in CUTOFFS:
            before, after = (recall(found, asked.right, k) for found in (whole, without))
            found = None if completed is None else recall(completed, asked.right, k)
            lost, recovered = before - after, None if found is None else found - after
            scores = [None if own is None else bootstrap(own, self._seed) for own in (found, recovered)]
            means = [bootstrap(own, self._seed) for own in (before, after, lost)]
            yield Tolerance(who, field, asked.kind, k, len(asked.queries), *means, *scores)

    def _answered(self, products: Sequence[Product]) -> dict[str, Rankings]:
        """Answers while ``products`` stand in the place of those of the split."""
        everything, vectors = list(self._gallery.products), self._gallery.vectors.copy()
        vectors[self.rows] = self._embedded(products)
        for row, product in zip(self.rows, products, strict=True):
            everything[row] = product
        return self._found(everything, vectors)

    def _embedded(self, products: Sequence[Product]) -> Vectors:
        gallery, found = self._gallery, []
        for batch in gallery.track(batches(products, gallery.settings.batch_size), "products that lack a field"):
            found.append(gallery.embedder.embed_products(batch, [self._pictures(product) for product in batch]))
        return np.concatenate(found)

    def _pictures(self, product: Product) -> list[Image]:
        return [self._gallery.read(path) for path in product.images]

    def _completed(
        self, products: Sequence[Product], completer: Completer, images: Sequence[Sequence[Image]] | None = None
    ) -> list[Completed]:
        """Products as completed; one that cannot be stays as it is."""
        found: list[Any] = []
        for rows in self._gallery.track(batches(range(len(products)), self._gallery.settings.batch_size), "completion"):
            batch = [products[row] for row in rows]
            shown = [self._pictures(product) for product in batch] if images is None else [images[row] for row in rows]
            found += completer.complete_many(batch, shown)
        return [
            one if isinstance(one, Completed) else Completed(product)
            for one, product in zip(found, products, strict=True)
        ]

    def _found(self, products: Sequence[Product], vectors: Vectors) -> dict[str, Rankings]:
        """The shop's answers to every kind of query from ``products`` and their ``vectors`` (products, dimensions)."""
        with FusedSearch(products, vectors) as search:
            return {
                one.kind: search.rank(
                    [query.text for query in one.queries], self._vectors[one.kind], beside_photos=one.kind == BOTH
                )
                for one in self._asked
            }


@contextmanager
def training_completer(
    gallery: Gallery, least: float = LEAST_CONFIDENCE, generator: Generator | None = None
) -> Iterator[Completer]:
    """A completer whose neighbours are the gallery's training products, indexed while the block runs."""
    products = [gallery.products[row] for row in gallery.training]
    with TemporaryDirectory(prefix="moon-neighbours-") as folder:
        store = stored(Path(folder), products, gallery.vectors[gallery.training], list(values_of(products)))
        live = LiveIndex(store, GALLERY)
        try:
            yield Completer(Predictor(gallery.embedder, live, gallery.settings, gallery.calibration), least, generator)
        finally:
            live.close()


def _design(product: Product) -> str:
    return product.group_id or product.id


def _without(product: Product, field: str) -> Product:
    """A copy that lacks a field of ``LACKING``."""
    nothing: dict[str, dict[str, Any]] = {
        PICTURE: {"images": []},
        TITLE: {"title": "", "titles": {}},
        CATEGORY: {"category": []},
        ATTRIBUTES: {"attributes": {}},
    }
    nothing[WORDS] = nothing[TITLE] | nothing[CATEGORY] | nothing[ATTRIBUTES]
    return product.model_copy(update=nothing[field])
