"""The catalog's own labels as contests for what is shown; only training products vote."""

from __future__ import annotations

from collections.abc import Sequence

from app.schema import Product
from trainer.evaluation.contest import Contest, path
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.shown import Shown


def category_contest(gallery: Gallery, shown: Shown) -> tuple[Contest, list[int]]:
    """All categories that products of the gallery end at, and the rows of the products shown that have one."""
    categories = sorted({path(product) for product in gallery.products} - {""})
    rows = [row for row, product in enumerate(shown.products) if product.category]
    carried = [[path(gallery.products[row])] for row in gallery.training]
    contest = Contest.of(
        shown.vectors[rows],
        categories,
        gallery.label_vectors(categories, "category"),
        gallery.vectors[gallery.training],
        carried,
    )
    return contest, rows


def attribute_contest(gallery: Gallery, shown: Shown, key: str) -> tuple[Contest, list[int]]:
    """All values of a key, and the rows of the products shown that have one."""
    values = values_of(gallery.products)[key]
    rows = [row for row, product in enumerate(shown.products) if product.attributes.get(key)]
    carried = [gallery.products[row].attributes.get(key, []) for row in gallery.training]
    contest = Contest.of(
        shown.vectors[rows],
        values,
        gallery.label_vectors([f"{key}: {value}" for value in values], "attribute"),
        gallery.vectors[gallery.training],
        carried,
    )
    return contest, rows


def values_of(products: Sequence[Product]) -> dict[str, list[str]]:
    """The values of every attribute key, both in alphabetical order."""
    found: dict[str, set[str]] = {}
    for product in products:
        for key, values in product.attributes.items():
            found.setdefault(key, set()).update(values)
    return {key: sorted(found[key]) for key in sorted(found) if found[key]}
