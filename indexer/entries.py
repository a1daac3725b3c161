"""The products that a build will hold, each with the hash under which its vector is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.catalog.problems import Report
from app.encoder import Vectors
from app.schema import Product
from app.store.words import mean_length, text_length
from indexer.changes import make_records
from indexer.spool import Spool

_DIGEST = np.dtype(f"S{hashlib.sha256().digest_size}")
"""A hash as bytes."""


class Entries:
    """Products of a spool by their place in it, with the content hash of each; about 140 bytes of memory for each."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._contents = np.zeros(len(spool), dtype=_DIGEST)
        self._records = np.zeros(len(spool), dtype=_DIGEST)
        self._lengths = np.zeros(len(spool), dtype=np.int32)
        self._ids = [""] * len(spool)
        self._attributes: set[str] = set()
        self._numbers: set[str] = set()

    def add(self, place: int, content: str, product: Product) -> None:
        self._contents[place] = bytes.fromhex(content)
        self._records[place] = _digest(f"{content} {product.model_dump_json()}")
        self._lengths[place] = text_length(product)
        self._ids[place] = product.id
        self._attributes.update(product.attributes)
        self._numbers.update(product.numbers)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._contents))

    def only(self, places: NDArray[np.int64]) -> Entries:
        """Those of the products at ``places``, counted among the products in the order of the catalog."""
        chosen = copy(self)
        rows = self._places()[places]
        chosen._contents = np.zeros_like(self._contents)
        chosen._contents[rows] = self._contents[rows]
        return chosen

    def ids(self) -> list[str]:
        """In the order of the catalog."""
        return [self._ids[place] for place in self._places().tolist()]

    def survey(self, report: Report) -> Survey:
        problems = b"".join(_digest(f"{p.severity} {p.id} {p.field} {p.reason}") for p in report.problems)
        records = self._records[self._places()]
        digests = np.frombuffer(problems + records.tobytes(), _DIGEST)
        return Survey(
            hashlib.sha256(np.sort(digests).tobytes()).hexdigest(),
            sorted(self._attributes),
            sorted(self._numbers),
            mean_length(self._lengths.tolist()),
            make_records(self.ids(), records.view(f"V{_DIGEST.itemsize}").tolist()),
        )

    def _places(self) -> NDArray[np.int64]:
        return np.flatnonzero(self._contents)

    def with_vectors(
        self, batches: Iterable[tuple[list[str], Vectors]]
    ) -> Iterator[tuple[Product, NDArray[np.float32]]]:
        """Every product once, with the vector that one of ``batches`` has for its content hash."""
        order = np.argsort(self._contents, kind="stable")
        ordered = self._contents[order]
        done = np.zeros(len(ordered), dtype=bool)
        for contents, vectors in batches:
            wanted = np.array(list(map(bytes.fromhex, contents)), dtype=_DIGEST)
            starts, ends = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
            for start, end, vector in zip(starts.tolist(), ends.tolist(), vectors, strict=True):
                if start < end and not done[start]:
                    done[start] = True
                    for place in order[start:end].tolist():
                        yield self.spool[place].product, vector


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


def _digest(item: str) -> bytes:
    return hashlib.sha256(item.encode()).digest()
