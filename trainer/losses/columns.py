"""What the columns of a step hold: query views, positives, hard negatives, and products by picture and by words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sentence_transformers.util import get_world_size
from torch import Tensor

ABSENT, FILLER = -1, -2
"""In the place of a row's first key: nothing is encoded for it, or what is encoded does not count in the loss."""
ALSO_RIGHT = -3
"""Among the keys of a query view: its triplet's hard negative answers it too, and is no negative of it."""


@dataclass(frozen=True)
class Queries:
    """Q queries of a step, view by view.

    ``vectors`` (Q, d) · ``keys`` (Q, K) · ``triplet`` (Q,): the row of the batch · ``view`` (Q,): which view it is.
    """

    vectors: Tensor
    keys: Tensor
    triplet: Tensor
    view: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def also_right(self) -> Tensor:
        """Those that their triplet's hard negative answers too, boolean (Q,)."""
        return (self.keys == ALSO_RIGHT).any(dim=1)

    def split(self, rows: int) -> list[Queries]:
        """Pieces of at most so many queries."""
        parts = (part.split(rows) for part in (self.vectors, self.keys, self.triplet, self.view))
        return [Queries(*piece) for piece in zip(*parts, strict=True)]


class Columns:
    """The columns of a step, told by its labels (B, V + 2, K), or (B, V + 3, K) for intra-product alignment.

    Labels are the keys of V query views, of the positive, of the hard negative, and of the positive as a product, which
    has two columns: its pictures and its words. A column has a row for each label that is not ``ABSENT``, and is left
    out where there is none. Ranks call the model equally often only if a column has all of its rows or none: rows that
    a rank lacks have to be ``FILLER``.

    ``given`` and ``used``: the place in the labels of each column that comes and of each that is encoded, without the
    hard negatives where those take no part · ``counted``: boolean (B, places), rows that count.
    """

    def __init__(self, labels: Tensor, *, hard_negatives: bool, intra: bool) -> None:
        places = labels.shape[1] if labels.ndim == 3 and labels.shape[2] else 0
        self.views = places - (3 if intra else 2)
        if self.views < 1:
            raise ValueError(
                "expected labels of shape (B, columns, K), K at least 1: query views, positives, hard negatives"
                f"{' and products' if intra else ''}; got labels of shape {tuple(labels.shape)}"
            )
        self.labels, self.batch = labels, len(labels)
        self.positive, self.negative, self.product = self.views, self.views + 1, self.views + 2
        self.encoded = labels[:, :, 0] != ABSENT
        self.counted = self.encoded & (labels[:, :, 0] != FILLER)
        self.rows = self.encoded.sum(dim=0).tolist()
        twice = [self.product] if intra else []
        self.given = [place for place in (*range(places), *twice) if self.rows[place]]
        self.used = [place for place in self.given if place != self.negative or hard_negatives]

    def check(self, columns: int) -> None:
        """Raises ValueError for another number of columns, and for rows that leave ranks with unequal work."""
        if columns != len(self.given):
            raise ValueError(
                f"expected {len(self.given)} columns by the labels of shape {tuple(self.labels.shape)}: query views, "
                f"positives, hard negatives, and pictures and words of products; got {columns} columns"
            )
        if get_world_size() > 1 and any(0 < rows < self.batch for rows in self.rows):
            raise ValueError(
                f"columns of {self.rows} rows for {self.batch} triplets: several ranks need all rows of a column, the "
                "missing ones as fillers, so that all call the model equally often"
            )

    def embedded(self, reps: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Embeddings of the columns that are used, each joined. Raises ValueError for another number of rows."""
        joined = [torch.cat([*parts]) for parts in reps]
        if (rows := list(map(len, joined))) != (expected := [self.rows[place] for place in self.used]):
            raise ValueError(f"got columns of {rows} rows, and labels for {self.batch} triplets that have {expected}")
        return joined

    def queries(self, embedded: Sequence[Tensor]) -> Queries:
        """All views of all triplets that count."""
        parts = []
        for place, vectors in zip(self.used, embedded, strict=True):
            if place < self.views:
                rows = self.encoded[:, place].nonzero().squeeze(1)
                counted = self.counted[rows, place]
                rows = rows[counted]
                parts.append((vectors[counted], self.labels[rows, place], rows, torch.full_like(rows, place)))
        return Queries(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def documents(self, embedded: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Positives, then hard negatives if they take part, (n, d), and their keys (n, K)."""
        places = [place for place in self.used if place in (self.positive, self.negative)]
        vectors = [embedded[self.used.index(place)] for place in places]
        return torch.cat(vectors), self.labels[:, places].transpose(0, 1).flatten(0, 1)

    def products(self, embedded: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor] | None:
        """Products by pictures and by words, both (n, d), and their keys (n, K); fillers are among them."""
        if self.product not in self.used:
            return None
        pictures, words = embedded[-2:]
        return pictures, words, self.labels[self.encoded[:, self.product], self.product]
