"""Hard negatives that a corpus offers by itself: other products of the category (paper), and the product's siblings."""

from __future__ import annotations

from bisect import bisect_left
from random import Random

import numpy as np
from numpy.typing import NDArray

from trainer.data.corpus import NO_ROW, Corpus

Rows = NDArray[np.int64] | int

TRIES = 8
"""Random draws before all candidates are looked through."""


class NegativePool:
    """Draws hard negatives among ``rows`` of the corpus's items, (n,); repeated rows are drawn as often as they stand.

    A negative never has the id or the normalised title of its product. About 24 bytes per row.
    """

    def __init__(self, corpus: Corpus, rows: NDArray[np.int64]) -> None:
        self._keys = corpus.item_keys
        self._category_keys, first = np.unique(self._keys["category"], return_index=True)
        paths = [corpus.item(row).category for row in first]
        self._paths = sorted(paths)
        place = {path: number for number, path in enumerate(self._paths)}
        self._place = np.array([place[path] for path in paths], dtype=np.int64)
        known = rows[self._keys["category"][rows] != 0]
        self._by_place, self._places = _sorted_by(self._places_of(known), known)
        grouped = rows[self._keys["group"][rows] != 0]
        self._by_group, self._groups = _sorted_by(self._keys["group"][grouped], grouped)

    def same_category(self, item_row: int, rng: Random) -> int | None:
        """Another product of the item's category, or else of its nearest ancestor that has one (our decision).

        Never a SKU of the same model. None if the item has no category or nothing else lies below its root.
        """
        if not self._keys["category"][item_row]:
            return None
        path = self._paths[self._places_of(item_row)]
        for depth in range(len(path), 0, -1):
            candidates = self._below(path[:depth])
            if (row := self._draw(candidates, item_row, rng, other_group=True)) is not None:
                return row
        return None

    def sibling(self, item_row: int, rng: Random) -> int | None:
        """Another SKU of the item's model, such as another colour; None if there is none."""
        group = self._keys["group"][item_row]
        if not group:
            return None
        start, end = np.searchsorted(self._groups, [group, group + 1])
        return self._draw(self._by_group[start:end], item_row, rng, other_group=False)

    def _places_of(self, rows: Rows) -> NDArray[np.int64]:
        """Where the items' paths stand in the sorted paths, in which every subtree is one stretch."""
        return self._place[np.searchsorted(self._category_keys, self._keys["category"][rows])]

    def _below(self, path: tuple[str, ...]) -> NDArray[np.int64]:
        """Rows of the items of a category and its descendants."""
        behind = (*path[:-1], path[-1] + "\0")
        start, end = np.searchsorted(self._places, [bisect_left(self._paths, path), bisect_left(self._paths, behind)])
        return self._by_place[start:end]

    def _draw(self, candidates: NDArray[np.int64], item_row: int, rng: Random, *, other_group: bool) -> int | None:
        if not len(candidates):
            return None
        for _ in range(TRIES):
            row = candidates[rng.randrange(len(candidates))]
            if self._fits(row, item_row, other_group):
                return int(row)
        fitting = candidates[self._fits(candidates, item_row, other_group)]
        return int(rng.choice(fitting)) if len(fitting) else None

    def _fits(self, rows: Rows, item_row: int, other_group: bool) -> NDArray[np.bool_]:
        fits = self._differs("id", rows, item_row) & self._differs("title", rows, item_row)
        return fits & self._differs("group", rows, item_row) if other_group else fits

    def _differs(self, name: str, rows: Rows, item_row: int) -> NDArray[np.bool_]:
        """Values that are missing differ from each other."""
        keys = self._keys[name]
        return (keys[rows] != keys[item_row]) | (keys[item_row] == 0)


def _sorted_by(values: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows in the order of their values, and the values in that order."""
    order = np.argsort(values, kind="stable")
    return rows[order], values[order]


def training_items(corpus: Corpus, records: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the items that training on the rows ``records`` may see, ascending.

    Left out is an item that other records name as their positive or negative and these do not; likewise every SKU of
    a model that only others name. Items that no record names stay.
    """
    named = np.stack([corpus.columns["positive"], corpus.columns["negative"]])
    training = np.zeros(corpus.records, dtype=np.bool_)
    training[records] = True
    allowed = np.ones(corpus.items, dtype=np.bool_)
    for name in ("id", "group"):
        keys = corpus.item_keys[name]
        seen, elsewhere = (_named_keys(keys, named[:, part]) for part in (training, ~training))
        allowed &= ~np.isin(keys, np.setdiff1d(elsewhere, seen, assume_unique=True))
    return np.flatnonzero(allowed)


def _named_keys(keys: NDArray[np.int64], named: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distinct keys, without 0, of the items that are named."""
    found = np.unique(keys[named[named != NO_ROW]])
    return found[found != 0]
