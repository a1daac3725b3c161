"""How right the values are that completion fills into products whose true ones are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.complete import ATTRIBUTE, CATEGORY, Completed
from app.schema import Product
from trainer.evaluation.metrics import Score, bootstrap


@dataclass(frozen=True)
class Filling:
    """Values of a field that were filled into so many of the products that lacked it, and the share of right ones."""

    lacking: str
    field: str
    products: int
    filled: int
    right: Score


def fillings(lacking: str, true: Sequence[Product], done: Sequence[Completed], seed: int) -> list[Filling]:
    """How right categories and attributes are that were filled into products without ``lacking``.

    A category is right at any level of the true path, a value if it is one of the key's. Titles, and keys that the true
    product has not, have no truth. A field that was never filled in has no row.
    """
    found = []
    for name in [CATEGORY, *sorted({ATTRIBUTE + key for product in true for key in product.attributes})]:
        pairs = [(own, one) for own, one in zip(true, done, strict=True) if _truth(name, own)]
        right = [_is_right(name, own, one.product) for own, one in pairs if name in one.filled]
        if right:
            found.append(Filling(lacking, name, len(pairs), len(right), bootstrap(right, seed)))
    return found


def _truth(name: str, product: Product) -> list[str]:
    return product.category if name == CATEGORY else product.attributes.get(name.removeprefix(ATTRIBUTE), [])


def _is_right(name: str, true: Product, done: Product) -> bool:
    if name == CATEGORY:
        return true.category[: len(done.category)] == done.category
    return _truth(name, done)[0] in _truth(name, true)
