"""The product's own search by MOON and words, over a gallery whose vectors are known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import numpy as np

from app.encoder import Vectors
from app.fusion import fused_matches
from app.schema import Filters, Product
from app.store.base import Manifest, Point
from app.store.edge import EdgeStore
from app.store.words import mean_length, text_length
from trainer.evaluation.metrics import DEPTH, Rankings


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
        store, manifest = EdgeStore(Path(self._folder.name)), _manifest(products, vectors.shape[1])
        with store.create(manifest) as writer:
            writer.add([Point(product, vector) for product, vector in zip(products, vectors, strict=True)])
            writer.finish(manifest)
        self.index = store.open(manifest.build)

    def rank(self, texts: Sequence[str], vectors: Vectors, depth: int = DEPTH) -> Rankings:
        """The best products per query, shape (queries, depth), from texts and MOON vectors (queries, dimensions).

        The vectors are those of the whole query: of the text, or of photo and text.
        """
        found = np.full((len(texts), depth), -1, dtype=np.int64)
        for row, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
            hits = fused_matches(self.index, vector, text, Filters())(depth, 0)
            found[row, : len(hits)] = [self._rows[hit.product.id] for hit in hits]
        return found

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


def _manifest(products: Sequence[Product], dimensions: int) -> Manifest:
    return Manifest(
        build="gallery",
        created=datetime.now(UTC),
        model="gallery",
        fingerprint="gallery",
        dimensions=dimensions,
        catalog="gallery",
        catalog_hash="",
        products=len(products),
        mean_words=mean_length(map(text_length, products)),
    )
