"""What the model understands of a product: candidates per category level and attribute as bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, repeat

from app.schema import CATEGORY_SEPARATOR, Candidate, Filters, Prediction, Sure
from ui.address import Address
from ui.language import ENGLISH, Language
from ui.markup import label_of, text

SHOWN = 5
"""Candidates per category level or attribute."""


def bars(prediction: Prediction, say: Language = ENGLISH) -> str:
    """One block of bars per category level, root first, then one per attribute; "not sure" where the model is not.

    A category leads to the search with its products alone.
    """
    sure = prediction.sure or Sure()
    known = chain(sure.categories, repeat(None))
    levels = "".join(
        _block(say("Category, level {depth}", depth=depth), candidates, is_sure, say, _category)
        for depth, (candidates, is_sure) in enumerate(zip(prediction.categories, known, strict=False), start=1)
    )
    attributes = "".join(
        _block(label_of(key), candidates, sure.attributes.get(key), say, _value)
        for key, candidates in prediction.attributes.items()
    )
    return f'<div class="prediction">{levels}{attributes}</div>'


def _block(
    title: str,
    candidates: Sequence[Candidate],
    sure: bool | None,
    say: Language,
    label: Callable[[str, Language], str],
) -> str:
    if not candidates:
        return ""
    rows = "".join(_bar(label(candidate.label, say), candidate.probability) for candidate in candidates[:SHOWN])
    unsure = f' <span class="unsure">{say("not sure")}</span>' if sure is False else ""
    return f'<section class="bars"><h3>{text(title)}{unsure}</h3><ol>{rows}</ol></section>'


def _category(path: str, say: Language) -> str:
    """A link that search.js turns into the present search with this category alone, if anything is searched."""
    levels = path.split(CATEGORY_SEPARATOR)
    within = Address(levels[-1], filters=Filters(category=levels), lang=say.code)
    only = Address(filters=within.filters)
    return (
        f'<a class="bar-label" title="{text(path)}" href="{text(within)}" data-narrow="{text(only)}">'
        f"{text(levels[-1])}</a>"
    )


def _value(label: str, _: Language) -> str:
    return f'<span class="bar-label" title="{text(label)}">{text(label)}</span>'


def _bar(label: str, probability: float) -> str:
    return (
        f'<li>{label}<span class="bar-track" aria-hidden="true"><span style="width:{probability:.1%}"></span></span>'
        f'<span class="bar-value">{probability:.0%}</span></li>'
    )
