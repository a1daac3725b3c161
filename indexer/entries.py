"""The products that a build will hold, each with the hash under which its vector is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.catalog.problems import Report
from app.encoder import Vectors
from app.schema import Product
from app.store.words import mean_length
from indexer.changes import make_records
from indexer.spool import Spool

HASH_LETTERS = 64
"""Length of a content hash, SHA-256 in hexadecimal."""


class Entries:
    """Products of a spool by their place in it, with the content hash of each; about 70 bytes of memory for each."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._contents = np.zeros(len(spool), dtype=f"S{HASH_LETTERS}")

    def add(self, place: int, content: str) -> None:
        self._contents[place] = content

    def __len__(self) -> int:
        return int(np.count_nonzero(self._contents))

    def __iter__(self) -> Iterator[tuple[str, Product]]:
        """Content hash and product, in the order of the catalog."""
        for place in np.flatnonzero(self._contents).tolist():
            yield self._contents[place].decode(), self.product(place)

    def product(self, place: int) -> Product:
        return self.spool[place].product

    def only(self, places: NDArray[np.int64]) -> Entries:
        """Those of the products at ``places``, counted among the products in the order of the catalog."""
        chosen = Entries(self.spool)
        rows = np.flatnonzero(self._contents)[places]
        chosen._contents[rows] = self._contents[rows]
        return chosen

    def ids(self) -> frozenset[str]:
        return frozenset(product.id for _, product in self)

    def with_vectors(
        self, batches: Iterable[tuple[list[str], Vectors]]
    ) -> Iterator[tuple[Product, NDArray[np.float32]]]:
        """Every product once, with the vector that one of ``batches`` has for its content hash."""
        order = np.argsort(self._contents, kind="stable")
        ordered = self._contents[order]
        done = np.zeros(len(ordered), dtype=bool)
        for contents, vectors in batches:
            wanted = np.asarray(contents, dtype=ordered.dtype)
            starts, ends = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
            for start, end, vector in zip(starts.tolist(), ends.tolist(), vectors, strict=True):
                if start < end and not done[start]:
                    done[start] = True
                    for place in order[start:end].tolist():
                        yield self.product(place), vector


@dataclass(frozen=True)
class Survey:
    """What has to be known of all products before a build is begun.

    ``catalog_hash`` changes with anything that a build or its manifest shows; the order of the rows is not part of it.
    ``records`` are the products' own hashes (see :mod:`indexer.changes`).
    """

    catalog_hash: str
    attribute_keys: list[str]
    number_keys: list[str]
    mean_words: float
    records: pl.DataFrame

    @classmethod
    def of(cls, entries: Entries, report: Report) -> Survey:
        attributes: set[str] = set()
        numbers: set[str] = set()
        ids: list[str] = []
        records: list[bytes] = []
        problems = [_digest(f"{p.severity} {p.id} {p.field} {p.reason}") for p in report.problems]

        def products() -> Iterator[Product]:
            for content, product in entries:
                attributes.update(product.attributes)
                numbers.update(product.numbers)
                ids.append(product.id)
                records.append(_digest(f"{content} {product.model_dump_json()}"))
                yield product

        mean_words = mean_length(products())
        catalog_hash = hashlib.sha256(b"".join(sorted([*problems, *records]))).hexdigest()
        return cls(catalog_hash, sorted(attributes), sorted(numbers), mean_words, make_records(ids, records))


def _digest(item: str) -> bytes:
    return hashlib.sha256(item.encode()).digest()
