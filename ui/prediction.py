"""What the model understands of a product: candidates per category level and attribute as bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

from app.schema import CATEGORY_SEPARATOR, Candidate, Prediction, Sure
from ui.language import ENGLISH, Language
from ui.markup import label_of, text

SHOWN = 5
"""Candidates per category level or attribute."""


def bars(prediction: Prediction, say: Language = ENGLISH) -> str:
    """One block of bars per category level, root first, then one per attribute; "not sure" where the model is not."""
    sure = prediction.sure or Sure()
    known = chain(sure.categories, repeat(None))
    levels = "".join(
        _block(say("Category, level {depth}", depth=depth), candidates, is_sure, say, short=True)
        for depth, (candidates, is_sure) in enumerate(zip(prediction.categories, known, strict=False), start=1)
    )
    attributes = "".join(
        _block(label_of(key), candidates, sure.attributes.get(key), say)
        for key, candidates in prediction.attributes.items()
    )
    return f'<div class="prediction">{levels}{attributes}</div>'


def _block(title: str, candidates: Sequence[Candidate], sure: bool | None, say: Language, short: bool = False) -> str:
    if not candidates:
        return ""
    rows = "".join(_bar(candidate, short) for candidate in candidates[:SHOWN])
    unsure = f' <span class="unsure">{say("not sure")}</span>' if sure is False else ""
    return f'<section class="bars"><h3>{text(title)}{unsure}</h3><ol>{rows}</ol></section>'


def _bar(candidate: Candidate, short: bool) -> str:
    label = candidate.label.rsplit(CATEGORY_SEPARATOR, 1)[-1] if short else candidate.label
    return (
        f'<li><span class="bar-label" title="{text(candidate.label)}">{text(label)}</span>'
        f'<span class="bar-track" aria-hidden="true"><span style="width:{candidate.probability:.1%}"></span></span>'
        f'<span class="bar-value">{candidate.probability:.0%}</span></li>'
    )
