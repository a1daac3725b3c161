"""From the best matches to what is shown: one SKU of each group, sorted by a number, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from app.errors import BadInputError
from app.schema import Hit, Product

BY_MATCH = "match"

SORTED, CLOSE = 100, 0.5
"""Sorted by a number are so many of the best matches at most, with at least this part of the best one's score.

Our decision (``benchmarks/sorting.py``): who asks for the cheapest lamp wants a lamp, and the cheapest of everything
would come first otherwise.
"""

MATCHES = 2_000
"""Grouped results come from so many of the best matches."""

_WINDOW = 100
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
        raise BadInputError(
            "the index cannot be sorted by {key}; it has: {listed}", key=repr(order.key), listed=f"{BY_MATCH}, {listed}"
        )
    return order


def page(matches: Matches, limit: int, offset: int, order: Order | None = None, group: bool = False) -> list[Hit]:
    """``limit`` results from ``offset`` on: the best matches, or the close ones in order; one of each group if so."""
    if order is None and not group:
        return matches(limit, offset)
    hits = best(matches)
    if group:
        hits = one_per_group(hits)
    if order is not None:
        hits = iter(order.sorted(close(islice(hits, SORTED))))
    return list(islice(hits, offset, offset + limit))


def best(matches: Matches) -> Iterator[Hit]:
    """The hits from the best on, MATCHES at most, read as they are needed."""
    for offset in range(0, MATCHES, _WINDOW):
        hits = matches(_WINDOW, offset)
        yield from hits
        if len(hits) < _WINDOW:
            return


def close(hits: Iterable[Hit]) -> list[Hit]:
    """Those of the hits, best first, that are not far behind the first."""
    hits = list(hits)
    least = min((min(hit.score, CLOSE * hit.score) for hit in hits[:1]), default=0.0)
    return [hit for hit in hits if hit.score >= least]


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
