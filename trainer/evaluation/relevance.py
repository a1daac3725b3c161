"""Which products of the gallery are right answers to a query, strictly and with near-duplicates (our decision).

Strict: the product bought, other products bought for the same query, and products that the data say answer it as well.
Duplicate-aware: also products with the bought one's group, normalised title, or one of its pictures' locations. MBE's
published R@1 of 26 beside R@10 of 96 means that its gallery holds many such duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.corpus import Corpus, StoredRecord
from trainer.data.keys import answer_key, id_key, key

DUPLICATE_KEYS = ("group", "title")


QUERIES_AT_ONCE = 256

Found = tuple[NDArray[np.int64], ...]
"""Places of right answers as slices of a :class:`Places`, which take no memory of their own; they may overlap."""


class RightAnswers:
    """The right answers of queries 0, 1, 2 ... among ``items`` places of a gallery."""

    def __init__(self, items: int, answers: Sequence[Found]) -> None:
        self._items, self._answers = items, answers

    def hits(self, queries: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which found ``places`` (queries, depth) are right answers of their queries (queries,)."""
        right = np.zeros(places.shape, dtype=np.bool_)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            codes = self._codes(queries[part])
            found = np.arange(len(queries[part]))[:, None] * self._items + places[part]
            at = np.searchsorted(codes, found)
            right[part] = np.append(codes, -1)[at] == found
        return right

    def counts(self, known: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Right answers of every query among the ``known`` places (items,), shape (queries,)."""
        queries = np.arange(len(self._answers))
        counted = np.zeros(len(queries), dtype=np.int64)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            codes = self._codes(queries[part])
            own = codes[known[codes % self._items]] // self._items
            counted[part] = np.bincount(own, minlength=len(queries[part]))
        return counted

    def _codes(self, queries: NDArray[np.int64]) -> NDArray[np.int64]:
        """Distinct numbers ``n * items + place`` of the right answers of the n-th of some queries, ascending."""
        found = [n * self._items + places for n, query in enumerate(queries) for places in self._answers[query]]
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))


class Places:
    """Places of a gallery by the keys of what stands there; 0, "no key", stands nowhere."""

    def __init__(self, keys: NDArray[np.int64], places: NDArray[np.int64] | None = None) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._places = order if places is None else places[order]

    def of(self, number: int) -> NDArray[np.int64]:
        """All places of a key."""
        if not number:
            return self._places[:0]
        return self._places[slice(*np.searchsorted(self._keys, [number, number + 1]))]


class Answers:
    """Finds the right answers of queries in a gallery of corpus rows (items,)."""

    def __init__(self, corpus: Corpus, gallery: NDArray[np.int64], pictures: Places, meanings: Places) -> None:
        self._corpus, self._pictures, self._meanings = corpus, pictures, meanings
        self._by = {name: Places(corpus.item_keys[name][gallery]) for name in ("id", *DUPLICATE_KEYS)}

    def strict(self, record: StoredRecord) -> Found:
        """The product bought, then other right answers."""
        bought = int(self._corpus.item_keys["id"][record.positive])
        same_query = [self._by["id"].of(number) for number in (bought, *map(id_key, record.also_right))]
        return *same_query, self._meanings.of(answer_key(record.meaning))

    def duplicates(self, record: StoredRecord) -> Found:
        """What cannot be told from the product bought."""
        found = [self._by[name].of(int(self._corpus.item_keys[name][record.positive])) for name in DUPLICATE_KEYS]
        pictures = self._corpus.item(record.positive).pictures
        return *found, *(self._pictures.of(location_key(picture.location)) for picture in pictures)


def location_key(location: str) -> int:
    return key("picture", location)
