"""Filters: the panel of categories and attributes with counts, what is chosen, and how a click changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.schema import CATEGORY_SEPARATOR, FacetValue, Filters
from ui.detail import label_of
from ui.markup import event, text

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


def panel(facets: Mapping[str, Sequence[FacetValue]], filters: Filters) -> str:
    """All filters that the catalog offers, with the number of products behind each."""
    groups = [_categories(facets.get("category", []), filters.category)]
    for key, values in sorted(facets.items(), key=lambda facet: len(facet[1]) > LONG):
        if key != "category":
            groups.append(_attribute(key, values, filters.attributes.get(key, [])))
    body = "".join(groups)
    if not body:
        return ""
    count = len(filters.category[-1:]) + sum(len(values) for values in filters.attributes.values())
    badge = f' <span class="badge">{count}</span>' if count else ""
    return (
        f'<details class="filters" id="filters"><summary>Filters{badge}</summary>'
        f'<nav class="facets" aria-label="Filters">{body}</nav></details>'
    )


def chips(filters: Filters) -> str:
    """What is chosen, each as a button that takes it away, and "Clear all"; nothing if nothing is chosen."""
    if not filters:
        return ""
    buttons = []
    if filters.category:
        parent = CATEGORY_SEPARATOR.join(filters.category[:-1])
        buttons.append(_chip("category", parent, filters.category[-1]))
    for key, values in filters.attributes.items():
        buttons += [_chip(key, value, f"{label_of(key)}: {value}") for value in values]
    clear = f'<button type="button" class="link" {event("clear")}>Clear all</button>'
    return f'<div class="chips" role="group" aria-label="Chosen filters">{"".join(buttons)}{clear}</div>'


def _chip(key: str, value: str, label: str) -> str:
    return (
        f'<button type="button" class="chip" {event("toggle", key=key, value=value)}'
        f' aria-label="Remove filter {text(label)}">{text(label)}<span aria-hidden="true">×</span></button>'
    )


def _categories(values: Sequence[FacetValue], path: list[str]) -> str:
    """The chosen path upwards, and one level below it."""
    if not values:
        return ""
    counts = {value.value: value.count for value in values}
    above = [CATEGORY_SEPARATOR.join(path[:depth]) for depth in range(1, len(path) + 1)]
    start = f"{above[-1]}{CATEGORY_SEPARATOR}" if above else ""
    below = [name for name in counts if name.startswith(start) and CATEGORY_SEPARATOR not in name[len(start) :]]
    rows = [_value("category", "", "All categories", None, False, 0)] if above else []
    rows += [_category(name, counts.get(name, 0), depth, depth + 1 == len(path)) for depth, name in enumerate(above)]
    rows += _folded("category", [_category(name, counts[name], len(above), False) for name in below])
    return _group("category", "Category", rows)


def _category(name: str, count: int, depth: int, chosen: bool) -> str:
    return _value("category", name, name.rsplit(CATEGORY_SEPARATOR, 1)[-1], count, chosen, depth)


def _attribute(key: str, values: Sequence[FacetValue], chosen: Sequence[str]) -> str:
    counts = {value.value: value.count for value in values if value.count}
    missing = [value for value in chosen if value not in counts]
    rows = [_value(key, value, value, counts.get(value, 0), value in chosen) for value in [*missing, *counts]]
    return _group(key, label_of(key), _folded(key, rows)) if rows else ""


def _folded(key: str, rows: list[str]) -> list[str]:
    if len(rows) <= UNFOLDED + 2:
        return rows
    rest = "".join(rows[UNFOLDED:])
    label = f"{len(rows) - UNFOLDED} more"
    more = f'<details id="more-{text(key)}"><summary>{label}</summary><ul>{rest}</ul></details>'
    return [*rows[:UNFOLDED], f"<li>{more}</li>"]


def _group(key: str, title: str, rows: list[str]) -> str:
    return f'<section data-facet="{text(key)}"><h3>{text(title)}</h3><ul>{"".join(rows)}</ul></section>'


def _value(key: str, value: str, label: str, count: int | None, chosen: bool, depth: int | None = None) -> str:
    number = "" if count is None else f'<span class="count">{count:,}</span>'
    box = '<span class="box" aria-hidden="true"></span>' if depth is None else ""
    indent = f' style="--depth:{depth}"' if depth else ""
    return (
        f'<li><button type="button" class="value" aria-pressed="{str(chosen).lower()}"{indent} '
        f'{event("toggle", key=key, value=value)}>{box}<span class="name">{text(label)}</span>{number}</button></li>'
    )
