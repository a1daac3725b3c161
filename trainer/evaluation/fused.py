"""The product's own search by MOON and words, over a gallery whose vectors are known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.balance import BESIDE_PHOTO
from app.encoder import Vectors
from app.fusion import fused_matches
from app.schema import Filters, Hit, Product
from app.store.base import Manifest, Point
from app.store.edge import EdgeStore
from app.store.words import mean_length, text_length
from trainer.evaluation.metrics import DEPTH, Rankings

GALLERY = "gallery"


class FusedSearch:
    """An embedded index of ``products`` and their unit ``vectors`` (products, dimensions), in a temporary folder.

    ``index`` is that build, opened. Use it in a ``with`` block, or call :meth:`close`. Raises ValueError if two
    products have one id or the vectors are not as many.
    """

    def __init__(self, products: Sequence[Product], vectors: Vectors) -> None:
        self._rows = {product.id: row for row, product in enumerate(products)}
        if len(self._rows) != len(products) or len(vectors) != len(products):
            raise ValueError(f"{len(self._rows)} product ids and {len(vectors)} vectors for {len(products)} products")
        self._folder = TemporaryDirectory(prefix="moon-gallery-")
        self.index = stored(Path(self._folder.name), products, vectors).open(GALLERY)

    def rank(
        self, texts: Sequence[str], vectors: Vectors, depth: int = DEPTH, *, beside_photos: bool = False
    ) -> Rankings:
        """The best products per query, shape (queries, depth), from texts and MOON vectors (queries, dimensions).

        The vectors are those of the whole query: of the text, or ``beside_photos`` of photo and text.
        """
        found = np.full((len(texts), depth), -1, dtype=np.int64)
        for row, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
            hits = self.hits(text, vector, depth, beside_photo=beside_photos)
            found[row, : len(hits)] = [self._rows[hit.product.id] for hit in hits]
        return found

    def hits(self, text: str, vector: NDArray[np.float32], depth: int, *, beside_photo: bool = False) -> list[Hit]:
        """The shop's answer to one query: text, ``beside_photo`` or alone; a photo alone has no text."""
        if text:
            words = BESIDE_PHOTO if beside_photo else 1.0
            return fused_matches(self.index, vector, text, Filters(), words)(depth, 0)
        return self.index.search(vector, Filters(), depth)

    def close(self) -> None:
        """Delete the index."""
        self.index.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stored(folder: Path, products: Sequence[Product], vectors: Vectors, keys: Sequence[str] = ()) -> EdgeStore:
    """A store whose published build, :data:`GALLERY`, is of a model of that name; ``keys`` are those of attributes."""
    manifest = Manifest(
        build=GALLERY,
        created=datetime.now(UTC),
        model=GALLERY,
        fingerprint=GALLERY,
        dimensions=vectors.shape[1],
        catalog=GALLERY,
        catalog_hash="",
        products=len(products),
        attribute_keys=list(keys),
        mean_words=mean_length(map(text_length, products)),
    )
    store = EdgeStore(folder)
    with store.create(manifest) as writer:
        writer.add([Point(product, vector) for product, vector in zip(products, vectors, strict=True)])
        writer.finish(manifest)
    store.publish(GALLERY)
    return store
