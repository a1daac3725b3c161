"""Exports that are more than one product a row, as rows of one product: those of Shopify and WooCommerce."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from app.catalog.columns import Mapped
from app.catalog.names import PAIRS, plain_name
from app.catalog.tables import BrokenRow, Row

Numbered = tuple[int, Row]
"""A row and its number."""

_GATHERED = re.compile(r"(?:product_|variant_)?image(?:_src|_url)?|option\d+_value")
_NO_OPTION = "Default Title"
_HANDLES = ("handle", "url_handle")


def one_product_a_row(names: Sequence[str], rows: Iterable[Numbered]) -> tuple[Mapped, Iterable[Numbered]]:
    """The rows of a catalog as they are, or with what the shop systems spread over rows and texts put together.

    Shopify writes a product's variants and further pictures below it, under the same handle: they become one product
    with the handle as its id, all pictures, all values of its options, and the rest of its first row. WooCommerce
    writes several category paths into one text, of which the first counts, and values with commas between. The columns
    that this settles come with the rows.
    """
    plain = {plain_name(name): name for name in names}
    handle = next((plain[name] for name in _HANDLES if name in plain), None)
    if handle and "title" in plain and any(name.startswith(("variant_", "option1_")) for name in plain):
        return {"id": (handle,)}, _shopify(rows, handle)
    if {"sku", "type", "name", "categories", "regular_price"} <= plain.keys():
        values = [
            plain[f"{match[1]}_value_s"]
            for name in plain
            if (match := PAIRS.fullmatch(name)) and f"{match[1]}_value_s" in plain
        ]
        return {}, _woocommerce(rows, plain["categories"], values)
    return {}, rows


def _shopify(rows: Iterable[Numbered], handle: str) -> Iterator[Numbered]:
    previous = ""

    def product(numbered: Numbered) -> Any:
        nonlocal previous
        if isinstance(numbered[1], dict):
            previous = numbered[1].get(handle) or previous
        return previous

    for _, group in groupby(rows, product):
        first: Numbered | None = None
        gathered: dict[str, dict[str, None]] = {}
        for number, cells in group:
            if isinstance(cells, BrokenRow):
                yield number, cells
                continue
            first = first or (number, dict(cells))
            for name, cell in cells.items():
                if isinstance(cell, str) and cell not in ("", _NO_OPTION) and _GATHERED.fullmatch(plain_name(name)):
                    gathered.setdefault(name, {})[cell] = None
        if first and isinstance(first[1], dict):
            yield first[0], {**first[1], **_lists(first[1], gathered)}


def _lists(cells: dict[str, Any], gathered: dict[str, dict[str, None]]) -> dict[str, list[str] | None]:
    """The gathered values of a product; None for the shop system's "no option"."""
    without = {name: None for name, cell in cells.items() if cell == _NO_OPTION}
    return {**without, **{name: list(values) for name, values in gathered.items()}}


def _woocommerce(rows: Iterable[Numbered], categories: str, values: Sequence[str]) -> Iterator[Numbered]:
    for number, cells in rows:
        if isinstance(cells, BrokenRow):
            yield number, cells
            continue
        lists = {name: _commas(cells[name]) for name in values if cells.get(name)}
        yield number, {**cells, **lists, categories: next(iter(_commas(cells.get(categories))), "")}


def _commas(cell: Any) -> list[str]:
    """
    >>> _commas("Beds\\\\, large, Sofas")
    ['Beds, large', 'Sofas']
    """
    parts = re.split(r"(?<!\\),", str(cell or ""))
    return [part.replace("\\,", ",").strip() for part in parts if part.strip()]
