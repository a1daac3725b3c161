"""Filters: the panel of categories and attributes with counts, what is chosen, and how a click changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.schema import CATEGORY_SEPARATOR, FacetValue, Filters, Range
from ui.address import Address
from ui.language import Language
from ui.markup import go, label_of, text

UNFOLDED = 8
"""Values of an attribute that are shown before "more"."""

LONG = 30
"""Attributes with more values than this (brands, tags) come after the others."""


def toggle(filters: Filters, key: str, value: str) -> Filters:
    """The filters after a click on a value: an attribute's value is added or taken away, a category replaces the other.

    >>> toggle(Filters(), "color", "red").attributes
    {'color': ['red']}
    """
    if key == "category":
        return filters.model_copy(update={"category": value.split(CATEGORY_SEPARATOR) if value else []})
    chosen = filters.attributes.get(key, [])
    changed = [other for other in chosen if other != value] if value in chosen else [*chosen, value]
    attributes = {**filters.attributes, key: changed}
    return filters.model_copy(update={"attributes": {name: values for name, values in attributes.items() if values}})


def panel(facets: Mapping[str, Sequence[FacetValue]], address: Address, priced: bool = False) -> str:
    """All filters that the catalog offers, with the number of products behind each; ``priced`` if it has prices."""
    filters = address.filters
    groups = [_categories(facets.get("category", []), address)]
    if priced:
        groups.append(_price(filters.ranges.get("price", Range()), address.say))
    for key, values in sorted(facets.items(), key=lambda facet: len(facet[1]) > LONG):
        if key != "category":
            groups.append(_attribute(key, values, address))
    body = "".join(groups)
    if not body:
        return ""
    count = len(filters.category[-1:]) + sum(map(len, filters.attributes.values())) + len(filters.ranges)
    badge = f' <span class="badge">{count}</span>' if count else ""
    heading = address.say("Filters")
    return (
        f'<details class="filters" id="filters"><summary>{heading}{badge}</summary>'
        f'<nav class="facets" aria-label="{heading}">{body}</nav></details>'
    )


def chips(address: Address) -> str:
    """What is chosen, each as a button that takes it away, and "Clear all"; nothing if nothing is chosen."""
    filters, say = address.filters, address.say
    if not filters:
        return ""
    buttons = []
    if filters.category:
        above = filters.model_copy(update={"category": filters.category[:-1]})
        buttons.append(_chip(filters.category[-1], address.filtered(above)))
    for key, values in filters.attributes.items():
        buttons += [_chip(f"{label_of(key)}: {value}", _toggled(address, key, value)) for value in values]
    for key, limits in filters.ranges.items():
        rest = {name: other for name, other in filters.ranges.items() if name != key}
        without = address.filtered(filters.model_copy(update={"ranges": rest}))
        buttons.append(_chip(f"{say(label_of(key))}: {_interval(limits, say)}", without))
    clear = f'<button type="button" class="link" {go(address.filtered(Filters()))}>{say("Clear all")}</button>'
    return f'<div class="chips" role="group" aria-label="{say("Chosen filters")}">{"".join(buttons)}{clear}</div>'


def _toggled(address: Address, key: str, value: str) -> Address:
    return address.filtered(toggle(address.filters, key, value))


def _chip(label: str, without: Address) -> str:
    meant = without.say("Remove filter {label}", label=label)
    return (
        f'<button type="button" class="chip" {go(without)} aria-label="{text(meant)}">'
        f'{text(label)}<span aria-hidden="true">×</span></button>'
    )


def _interval(limits: Range, say: Language) -> str:
    """
    >>> from ui.language import ENGLISH
    >>> _interval(Range(min=10), ENGLISH), _interval(Range(min=10, max=99.5), ENGLISH)
    ('from 10', '10 to 99.5')
    """
    if limits.max is None:
        return say("from {min}", min=f"{limits.min:g}")
    if limits.min is None:
        return say("up to {max}", max=f"{limits.max:g}")
    return say("{min} to {max}", min=f"{limits.min:g}", max=f"{limits.max:g}")


def _price(limits: Range, say: Language) -> str:
    """Two numbers; search.js puts them into the address."""

    def side(name: str, label: str, value: float | None) -> str:
        given = "" if value is None else f"{value:g}"
        return (
            f'<label>{label}<input type="number" min="0" step="any" inputmode="decimal" name="{name}.price" '
            f'value="{given}"></label>'
        )

    sides = side("min", say("From"), limits.min) + side("max", say("To"), limits.max)
    return f'<section data-facet="price"><h3>{say("Price")}</h3><div class="limits">{sides}</div></section>'


def _categories(values: Sequence[FacetValue], address: Address) -> str:
    """The chosen path upwards, and one level below it."""
    if not values:
        return ""
    path = address.filters.category
    counts = {value.value: value.count for value in values}
    above = [CATEGORY_SEPARATOR.join(path[:depth]) for depth in range(1, len(path) + 1)]
    start = f"{above[-1]}{CATEGORY_SEPARATOR}" if above else ""
    below = [name for name in counts if name.startswith(start) and CATEGORY_SEPARATOR not in name[len(start) :]]

    def row(name: str, depth: int) -> str:
        label, chosen = name.rsplit(CATEGORY_SEPARATOR, 1)[-1], depth + 1 == len(path)
        return _value(label, counts.get(name, 0), chosen, _toggled(address, "category", name), depth)

    rows = [_value(address.say("All categories"), None, False, _toggled(address, "category", ""), 0)] if above else []
    rows += [row(name, depth) for depth, name in enumerate(above)]
    rows += _folded("category", [row(name, len(above)) for name in below], address.say)
    return _group("category", address.say("Category"), rows)


def _attribute(key: str, values: Sequence[FacetValue], address: Address) -> str:
    chosen = address.filters.attributes.get(key, [])
    counts = {value.value: value.count for value in values if value.count}
    missing = [value for value in chosen if value not in counts]
    rows = [
        _value(value, counts.get(value, 0), value in chosen, _toggled(address, key, value))
        for value in [*missing, *counts]
    ]
    return _group(key, label_of(key), _folded(key, rows, address.say)) if rows else ""


def _folded(key: str, rows: list[str], say: Language) -> list[str]:
    if len(rows) <= UNFOLDED + 2:
        return rows
    rest = "".join(rows[UNFOLDED:])
    label = say("{count} more", count=len(rows) - UNFOLDED)
    more = f'<details id="more-{text(key)}"><summary>{label}</summary><ul>{rest}</ul></details>'
    return [*rows[:UNFOLDED], f"<li>{more}</li>"]


def _group(key: str, title: str, rows: list[str]) -> str:
    return f'<section data-facet="{text(key)}"><h3>{text(title)}</h3><ul>{"".join(rows)}</ul></section>'


def _value(label: str, count: int | None, chosen: bool, after: Address, depth: int | None = None) -> str:
    """One value as a button that leads to the address ``after`` the click; a ``depth`` makes it a level of a tree."""
    number = "" if count is None else f'<span class="count">{count:,}</span>'
    box = '<span class="box" aria-hidden="true"></span>' if depth is None else ""
    indent = f' style="--depth:{depth}"' if depth else ""
    return (
        f'<li><button type="button" class="value" aria-pressed="{str(chosen).lower()}"{indent} {go(after)}>'
        f'{box}<span class="name">{text(label)}</span>{number}</button></li>'
    )
