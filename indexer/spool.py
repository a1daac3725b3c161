"""The products of a catalog, kept on disk while they are indexed."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from app.catalog.products import CatalogRow
from app.schema import Product


class Spool:
    """Rows that are written once and read in any order; about 30 bytes of memory each. Reading is thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._stream = tempfile.TemporaryFile(dir=folder, prefix="products-", suffix=".tmp")  # noqa: SIM115
        self._ends = array("q", [0])
        self._numbers = array("q")
        self._pictures, self._letters, self._files = array("h"), array("i"), array("i")
        self._places: dict[str, int] = {}
        self._names: list[str] = []

    def append(self, row: CatalogRow) -> None:
        written = self._stream.write(row.product.model_dump_json(exclude_defaults=True).encode())
        self._ends.append(self._ends[-1] + written)
        self._numbers.append(row.number)
        self._pictures.append(min(len(row.product.images), 1000))
        self._letters.append(len(row.product.title))
        if row.file not in self._places:
            self._places[row.file] = len(self._names)
            self._names.append(row.file)
        self._files.append(self._places[row.file])

    def close_for_writing(self) -> None:
        """Call this between the last :meth:`append` and the first read."""
        self._stream.flush()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> CatalogRow:
        start, end = self._ends[place], self._ends[place + 1]
        product = Product.model_validate_json(os.pread(self._stream.fileno(), end - start, start))
        return CatalogRow(self._numbers[place], product, self._names[self._files[place]])

    def largest_first(self) -> Iterator[int]:
        """Places of the rows, those with the most pictures and the longest titles first, else in their order."""
        return iter(np.lexsort((-np.asarray(self._letters), -np.asarray(self._pictures))).tolist())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
