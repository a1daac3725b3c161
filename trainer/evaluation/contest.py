"""Labels that compete for products, with the vote of neighbours, for many products at once (:mod:`app.calibration`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.calibration import VOTERS, Competition, probabilities, shares
from app.encoder import Vectors
from app.schema import CATEGORY_SEPARATOR, Product, category_levels


@dataclass(frozen=True)
class Contest:
    """Products by row: similarities (products, labels), and ``near`` and ``carried`` of their nearest voters."""

    labels: Sequence[str]
    similarities: NDArray[np.float32]
    near: NDArray[np.float32]
    carried: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        vectors: Vectors,
        labels: Sequence[str],
        label_vectors: Vectors,
        voter_vectors: Vectors,
        carried: Sequence[list[str]],
    ) -> Contest:
        """``vectors`` (products, dimensions) between labels and voters; ``carried`` says what each voter is."""
        everyone = vectors @ voter_vectors.T
        nearest = np.argsort(-everyone, axis=1, kind="stable")[:, :VOTERS]
        held = shares({label: column for column, label in enumerate(labels)}, list(carried))
        return cls(labels, vectors @ label_vectors.T, np.take_along_axis(everyone, nearest, axis=1), held[nearest])

    def probabilities(self, how: Competition) -> NDArray[np.float64]:
        """Shape (products, labels)."""
        return probabilities(self.similarities, self.near, self.carried, how)


def at_level(
    found: NDArray[np.float64], categories: Sequence[str], level: int
) -> tuple[list[str], NDArray[np.float64]]:
    """The categories of a level, 1 for the root, and how probable each is: as probable as all that ends below it.

    ``found`` (products, categories) are the probabilities of categories that products end at.
    """
    ancestors = [ancestor(category, level) for category in categories]
    names = sorted(set(ancestors))
    below = np.array([[own == name for name in names] for own in ancestors], dtype=np.float64)
    return names, found @ below


def ancestor(category: str, level: int) -> str:
    """The ancestor of a category at a level, or its end if that comes first."""
    return category_levels(category.split(CATEGORY_SEPARATOR))[:level][-1]


def path(product: Product) -> str:
    """The category that a product ends at, "" for none."""
    return CATEGORY_SEPARATOR.join(product.category)


def truths(labels: Sequence[str], right: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Which labels are right, shape (products, labels), from the right ones of each product."""
    return shares({label: column for column, label in enumerate(labels)}, [list(own) for own in right]) > 0


def answered(found: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of each product the probability of the best label, and whether that is a right one; shapes (products,)."""
    best = found.argmax(axis=1)
    rows = np.arange(len(found))
    return found[rows, best], right[rows, best]
