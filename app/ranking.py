"""From the best matches to what is shown: one SKU of each group, sorted by a number, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from app.errors import BadInputError
from app.schema import Hit, Product

BY_MATCH = "match"

SORTED = 100
"""So many of the best matches are sorted by a number. Our decision: who asks for the cheapest lamp wants a lamp."""

MATCHES = 2_000
"""Grouped results come from so many of the best matches."""

_WINDOW = 200
"""Matches read at a time; the same for every page, so that pages continue each other."""

Matches = Callable[[int, int], list[Hit]]
"""``matches(limit, offset)``: so many hits, best first."""


class Order(NamedTuple):
    """By a key of ``Product.numbers``; products without it come last, equal ones stay as they match."""

    key: str
    descending: bool

    def sorted(self, hits: Iterable[Hit]) -> list[Hit]:
        """The hits in this order."""
        sign = -1 if self.descending else 1
        return sorted(hits, key=lambda hit: sign * hit.product.numbers.get(self.key, sign * float("inf")))


def order_of(sort: str, number_keys: Sequence[str]) -> Order | None:
    """What ``sort`` says: ``price`` from the lowest on, ``-price`` from the highest on; None for ``match``.

    Raises BadInputError for anything but ``match`` and the index' number keys.
    """
    if sort == BY_MATCH:
        return None
    order = Order(sort.removeprefix("-"), sort.startswith("-"))
    if order.key not in number_keys:
        listed = ", ".join(sorted(number_keys)) or "no number"
        raise BadInputError(f"the index cannot be sorted by {order.key!r}; it has: {BY_MATCH}, {listed}")
    return order


def page(matches: Matches, limit: int, offset: int, order: Order | None = None, group: bool = False) -> list[Hit]:
    """``limit`` results from ``offset`` on: the best matches, one of each group if asked, the first SORTED in order."""
    if order is None and not group:
        return matches(limit, offset)
    hits = best(matches)
    if group:
        hits = one_per_group(hits)
    if order is not None:
        hits = iter(order.sorted(islice(hits, SORTED)))
    return list(islice(hits, offset, offset + limit))


def best(matches: Matches) -> Iterator[Hit]:
    """The hits from the best on, MATCHES at most, read as they are needed."""
    for offset in range(0, MATCHES, _WINDOW):
        hits = matches(_WINDOW, offset)
        yield from hits
        if len(hits) < _WINDOW:
            return


def one_per_group(hits: Iterable[Hit], seen: Iterable[str] = ()) -> Iterator[Hit]:
    """The first hit of each group, but none of the groups ``seen``."""
    known = set(seen)
    for hit in hits:
        group = group_of(hit.product)
        if group not in known:
            known.add(group)
            yield hit


def group_of(product: Product) -> str:
    """What the SKUs of one model share; a product without ``group_id`` is a group of its own."""
    return product.group_id or product.id
