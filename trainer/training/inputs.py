"""What a training step reads: inputs of the model, the views of a query, triplets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data.record import Modality
from trainer.data.views import View


@dataclass(frozen=True, slots=True)
class Input:
    """What the model reads: views with a mirror flag each, then marked text."""

    views: tuple[tuple[View, bool], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class QueryView:
    """A way to ask for a product: by picture, by words, or by both; ``record`` is the row that it came from."""

    modality: Modality
    input: Input
    keys: Sequence[int]
    record: int


@dataclass(frozen=True, slots=True)
class Triplet:
    """Views of a query, positive, negative, and the keys of the two (see :mod:`trainer.data.keys`).

    ``negative_item`` is the row of the negative's item.
    ``words`` is the positive's own text, with its title always, and ``product_keys`` those of its id, model and title,
    where its pictures are to be aligned with it; without pictures or words both are empty.
    """

    queries: tuple[QueryView, ...]
    positive: Input
    negative: Input
    document_keys: tuple[Sequence[int], Sequence[int]]
    negative_item: int
    words: str = ""
    product_keys: Sequence[int] = ()

    @property
    def query(self) -> Input:
        """The first view, of the mixture the only one."""
        return self.queries[0].input

    @property
    def record(self) -> int:
        """Row of the record that the first view came from."""
        return self.queries[0].record

    @property
    def keys(self) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Of the first view, positive and negative."""
        return self.queries[0].keys, *self.document_keys
