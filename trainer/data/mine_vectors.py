"""Vectors of a corpus's items and queries for mining, and what must be known of an item to call it a negative."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import Embedder
from app.errors import BadInputError, ModelError
from app.moon.embedder import MAX_PICTURES
from app.schema import Product, Query
from trainer.data.ahead import run_ahead
from trainer.data.boxes import BoxCache
from trainer.data.corpus import Corpus
from trainer.data.keys import WIDTH
from trainer.data.pictures import PictureStore, shown_box
from trainer.data.record import Picture, Segment

T = TypeVar("T")
Track = Callable[[Sequence[int], str], Iterable[int]]
"""Passes a sequence through while showing its progress under a title."""


@dataclass(frozen=True)
class Gallery:
    """Items by place: their ``rows`` in the corpus (n,), ``vectors`` (n, d), ``keys`` as documents (n, WIDTH).

    ``known`` (n,) says which have a vector: an item with neither title nor a picture that can be read has none.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    keys: NDArray[np.int64]
    known: NDArray[np.bool_]
    ids: NDArray[np.int64]
    by_id: NDArray[np.int64]

    def place_of(self, id_key: int) -> int:
        return int(self.by_id[np.searchsorted(self.ids, id_key)])


@dataclass
class Reader:
    """Reads the pictures of products and queries; ``unreadable`` collects the reason for each that is left out."""

    store: PictureStore
    boxes: BoxCache | None = None
    unreadable: set[str] = field(default_factory=set)

    def image(self, picture: Picture) -> Image | None:
        try:
            return self.store.read(picture.location)
        except BadInputError as error:
            self.unreadable.add(str(error))
            return None

    def query(self, picture: Picture | None, text: str) -> Query:
        image = self.image(picture) if picture is not None else None
        if picture is None or image is None:
            return Query(text)
        box = self.boxes.box(picture, text) if self.boxes is not None else picture.box
        return Query(text, image, shown_box(box, image) if box is not None else None)


def embed_gallery(
    corpus: Corpus,
    embedder: Embedder,
    reader: Reader,
    rows: NDArray[np.int64],
    folder: Path,
    batch_size: int,
    track: Track,
) -> Gallery:
    """Embed the items ``rows``, of distinct ids; the vectors and keys lie in files in ``folder``."""
    vectors = open_memmap(folder / "items.npy", mode="w+", dtype=np.float32, shape=(len(rows), embedder.dimensions))
    keys = open_memmap(folder / "keys.npy", mode="w+", dtype=np.int64, shape=(len(rows), WIDTH))
    known = np.zeros(len(rows), dtype=np.bool_)

    def read(row: int) -> tuple[Product, list[Image], Sequence[int]]:
        item = corpus.item(row)
        images = [image for own in item.pictures[:MAX_PICTURES] if (image := reader.image(own)) is not None]
        attributes = {name: list(values) for name, values in item.attributes.items()}
        product = Product(id=str(row), title=item.title, category=list(item.category), attributes=attributes)
        return product, images, corpus.item_document_keys(row, item)

    for start, batch in _batches(rows, read, batch_size, track, "items"):
        keys[start : start + len(batch)] = [own for _, _, own in batch]
        has = [place for place, (product, images, _) in enumerate(batch) if product.title or images]
        if has:
            products, images = zip(*((batch[place][0], batch[place][1]) for place in has), strict=True)
            vectors[np.array(has) + start] = _finite(embedder.embed_products(products, images), embedder)
            known[np.array(has) + start] = True
    by_id = np.argsort(corpus.item_keys["id"][rows])
    return Gallery(rows, vectors, keys, known, corpus.item_keys["id"][rows][by_id], by_id)


def embed_queries(
    corpus: Corpus,
    embedder: Embedder,
    reader: Reader,
    rows: NDArray[np.int64],
    batch_size: int,
    track: Track,
    title: str,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors (n, d) of the queries of records ``rows`` with all that they have, and which have one (n,)."""
    vectors = np.zeros((len(rows), embedder.dimensions), dtype=np.float32)
    known = np.zeros(len(rows), dtype=np.bool_)

    def read(row: int) -> tuple[Segment, Query]:
        record = corpus.record(row)
        both = "both" in record.modalities
        text = record.text if both or "text" in record.modalities else ""
        picture = record.picture if both or "image" in record.modalities else None
        return record.segment, reader.query(picture, text)

    for start, batch in _batches(rows, read, batch_size, track, title):
        for segment in {segment for segment, _ in batch}:
            own = [(n, q) for n, (kind, q) in enumerate(batch) if kind == segment and (q.text.strip() or q.image)]
            if own:
                places = np.array([place for place, _ in own]) + start
                vectors[places] = _finite(_embed(embedder, [query for _, query in own], segment), embedder)
                known[places] = True
    return vectors, known


def _embed(embedder: Embedder, queries: Sequence[Query], segment: Segment) -> NDArray[np.float32]:
    if segment == "title":
        return embedder.embed_queries(queries)[0]
    return embedder.embed_labels([query.text for query in queries], segment)


def _batches(
    rows: NDArray[np.int64], read: Callable[[int], T], size: int, track: Track, title: str
) -> Iterator[tuple[int, list[T]]]:
    """Batches of what is read of the rows, ahead of the model, each with the place of its first row."""
    ahead = run_ahead(read, map(int, rows), 4 * size)
    for start in track(range(0, len(rows), size), title):
        yield start, [next(ahead) for _ in rows[start : start + size]]


def _finite(vectors: NDArray[np.float32], embedder: Embedder) -> NDArray[np.float32]:
    if not np.isfinite(vectors).all():
        raise ModelError(f"{embedder.name} gave vectors that are not numbers; mine with another checkpoint.")
    return vectors
