"""The products that a build will hold, each with the hash under which its vector is known."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

from app.catalog.problems import Report
from app.schema import Product
from app.store.words import mean_length
from indexer.spool import Spool


@dataclass(frozen=True)
class Entries:
    """Products of a spool by their place in it, with the content hash of each."""

    spool: Spool
    contents: dict[int, str]

    def __len__(self) -> int:
        return len(self.contents)

    def product(self, place: int) -> Product:
        return self.spool[place].product

    def places(self) -> dict[str, list[int]]:
        """The products of every content hash."""
        places: dict[str, list[int]] = {}
        for place, content in self.contents.items():
            places.setdefault(content, []).append(place)
        return places

    def sample(self, count: int) -> frozenset[str]:
        """Ids of products chosen at random, the same ones for the same catalog."""
        chosen = random.Random(0).sample(sorted(self.contents), min(count, len(self)))  # noqa: S311
        return frozenset(self.product(place).id for place in chosen)

    def __iter__(self) -> Iterator[tuple[str, Product]]:
        """Content hash and product, in the order of the catalog."""
        for place in sorted(self.contents):
            yield self.contents[place], self.product(place)


@dataclass(frozen=True)
class Survey:
    """What has to be known of all products before a build is begun.

    ``catalog_hash`` changes with anything that a build or its manifest shows; the order of the rows is not part of it.
    """

    catalog_hash: str
    attribute_keys: list[str]
    number_keys: list[str]
    mean_words: float

    @classmethod
    def of(cls, entries: Entries, report: Report) -> Survey:
        attributes: set[str] = set()
        numbers: set[str] = set()
        items = [_digest(f"{p.severity} {p.id} {p.field} {p.reason}") for p in report.problems]

        def products() -> Iterator[Product]:
            for content, product in entries:
                attributes.update(product.attributes)
                numbers.update(product.numbers)
                items.append(_digest(f"{content} {product.model_dump_json()}"))
                yield product

        mean_words = mean_length(products())
        catalog_hash = hashlib.sha256(b"".join(sorted(items))).hexdigest()
        return cls(catalog_hash, sorted(attributes), sorted(numbers), mean_words)


def _digest(item: str) -> bytes:
    return hashlib.sha256(item.encode()).digest()
