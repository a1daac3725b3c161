"""All ways to ask for the product of a triplet: by picture, by words, by both (MOON2.0: multimodal joint learning).

Where the drawn record cannot give a view, another training record of the same product does; a customer's photo from
one and the words from another make a query of both. A view that no record gives is absent (our decisions).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainer.data.corpus import Corpus, StoredRecord
from trainer.data.keys import padded
from trainer.data.record import MODALITIES, Modality
from trainer.losses.columns import ALSO_RIGHT
from trainer.training.inputs import Input, QueryView

Ask = Callable[[StoredRecord, Modality, random.Random], Input]


class QueryViews:
    """Finds and makes the views of a drawn query; ``rows`` are the training records, ``ask`` makes an input of one."""

    def __init__(self, corpus: Corpus, rows: NDArray[np.int64], ask: Ask) -> None:
        self._corpus, self._ask = corpus, ask
        columns = corpus.columns
        rows = rows[(columns["weight"][rows] > 0) & corpus.shoppers_words[rows]]
        products = corpus.item_keys["id"][columns["positive"][rows]]
        order = np.argsort(products, kind="stable")
        self._rows, self._products = rows[order], products[order]

    def of(
        self,
        drawn: QueryView,
        record: StoredRecord,
        negative_keys: Sequence[int],
        rng: random.Random,
        chances: Sequence[float] | None,
    ) -> list[QueryView]:
        """All views that there are, the drawn one first, or one of them by the ``chances`` of MODALITIES.

        ``record`` is the drawn one. Views of other records say with ``ALSO_RIGHT`` where the hard negative, which was
        chosen for the drawn one, answers them too.
        """
        given = self._given(drawn, record, rng)
        if chances is None:
            wanted = sorted(given, key=lambda name: name != drawn.modality)
        else:
            wanted = rng.choices([*given], [chances[MODALITIES.index(name)] for name in given])
        return [
            drawn if name == drawn.modality else self._view(name, given[name], drawn.record, negative_keys, rng)
            for name in wanted
        ]

    def _given(self, drawn: QueryView, record: StoredRecord, rng: random.Random) -> dict[Modality, tuple[int, ...]]:
        """Modality to the row that gives it, or to those of a picture and of words."""
        given: dict[Modality, tuple[int, ...]] = {}
        product = self._corpus.item_keys["id"][record.positive]
        for name in MODALITIES:
            if name in record.modalities:
                given[name] = (drawn.record,)
            elif (found := self._find(product, name, rng)) is not None:
                given[name] = (found,)
        if "both" not in given and {"image", "text"} <= given.keys():
            words = given["text"][0]
            if self._corpus.shoppers_words[words]:
                given["both"] = (words, given["image"][0])
        return given

    def _find(self, product: np.int64, modality: Modality, rng: random.Random) -> int | None:
        """A record of the product that can be asked so, by weight."""
        first, last = np.searchsorted(self._products, product), np.searchsorted(self._products, product, side="right")
        own = self._rows[first:last]
        columns = self._corpus.columns
        own = own[(columns["modalities"][own] >> MODALITIES.index(modality) & 1).astype(bool)]
        if not len(own):
            return None
        heights = np.cumsum(columns["weight"][own], dtype=np.float64)
        return int(own[np.searchsorted(heights, rng.random() * heights[-1], side="right")])

    def _view(
        self, modality: Modality, rows: tuple[int, ...], drawn: int, negative_keys: Sequence[int], rng: random.Random
    ) -> QueryView:
        record, *pictured = (self._corpus.record(row) for row in rows)
        keys = [number for one in (record, *pictured) for number in self._corpus.query_keys(one)]
        if rows != (drawn,) and (set(keys) & set(negative_keys)) - {0}:
            keys = [ALSO_RIGHT, *keys]
        if pictured:
            record = replace(record, picture=pictured[0].picture)
        return QueryView(modality, self._ask(record, modality, rng), padded(keys), rows[0])
