"""What a small MOON is to reach on held-out designs of the home-goods set: one table of targets, from measured rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from trainer.data.home import HomeSet
from trainer.evaluation import classify, shown, tasks
from trainer.evaluation import text_tasks as texts
from trainer.evaluation.metrics import DEPTH, Score, bootstrap, bootstrap_ratio
from trainer.evaluation.scores import (
    CENTRE,
    FUSED,
    LEXICAL,
    LOCAL_LEXICAL,
    MOON,
    PALETTE,
    VISION,
    VOTE,
    Key,
    Scorer,
    Values,
)

PHOTO, BOXED, BOXED_SKU = 0.80, 0.90, 0.80
ENGLISH, LOCAL = 0.95, 0.85
TIMES_SEEN, TIMES_UNSEEN = 2.0, 1.3
COMPOSED, LEAD = 0.60, 0.20
PICTURE_CATEGORY, TITLED_CATEGORY, COLOUR = 0.75, 0.92, 0.75
OVERLAP = 0.65
CONFIDENCE = 0.95
ALONE = (MOON, LEXICAL, LOCAL_LEXICAL)


@dataclass(frozen=True)
class Target:
    """``value`` is to reach ``wanted``. Its interval is over the ``n`` queries; ``beside`` says what else reached what.

    ``note`` says of a target over several query sets which of them miss it.
    """

    measure: str
    wanted: float
    value: Score
    met: bool
    n: int
    beside: Mapping[str, Score]
    note: str = ""


@dataclass(frozen=True)
class Spread:
    """One target over several checkpoints, for example of different seeds: their values, mean and 95 % t interval."""

    measure: str
    wanted: float
    values: list[float]
    mean: Score
    met: bool


def targets(scorer: Scorer, home: HomeSet) -> list[Target]:
    """The table, in its order; targets without queries in ``home`` are left out."""
    return [target for target in _targets(_Judge(scorer), home) if target is not None]


def spreads(evaluated: Sequence[Sequence[Target]]) -> list[Spread]:
    """The targets of several checkpoints together, in their order; nothing for one. All must have the same ones.

    The interval is Student's t over checkpoints: it covers what training by chance changes, not the draw of queries.
    """
    return [_spread(same) for same in zip(*evaluated, strict=True)] if len(evaluated) > 1 else []


def _spread(same: Sequence[Target]) -> Spread:
    values = [target.value.value for target in same]
    mean = t_interval(values)
    return Spread(same[0].measure, same[0].wanted, values, mean, mean.value >= same[0].wanted)


def t_interval(values: Sequence[float]) -> Score:
    """The mean of at least two values with its 95 % interval by Student's t."""
    mean = float(np.mean(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Score(mean, mean - half, mean + half)


def _targets(judge: _Judge, home: HomeSet) -> Iterable[Target | None]:
    model, sku = f"{tasks.RIGHT_MODEL} R@1", f"{tasks.RIGHT_SKU} R@1"
    found, boxed = Key(tasks.PHOTOS, tasks.OWN_BOX, model), Key(tasks.PHOTOS, tasks.TRUE_BOX, model)
    boxed_sku = Key(tasks.PHOTOS, tasks.TRUE_BOX, sku)
    yield judge.value("customer photo, box by the model: same model R@1", found, PHOTO, VISION)
    yield judge.value("customer photo, true box: same model R@1", boxed, BOXED, VISION)
    yield judge.value("customer photo, true box: exact SKU R@1", boxed_sku, BOXED_SKU, VISION)
    yield judge.value("English name: R@10", _recall(texts.english(["name"])), ENGLISH, LEXICAL)
    for note, times in ((texts.SEEN, TIMES_SEEN), (texts.UNSEEN, TIMES_UNSEEN)):
        key = _graded(texts.english(texts.PHRASES, note))
        yield judge.ratio(f"synonyms and phrases, {note}: nDCG@10 as a multiple of BM25's", key, times)
    yield judge.never_worse(home, "MOON + BM25 minus the better of the two, worst text type: nDCG@10")
    languages = texts.languages(home.queries)
    together = [texts.together(home.queries)] if len(languages) > 1 else []
    for lang in [*together, *languages]:
        key = _recall(texts.foreign(lang, texts.NAME))
        yield judge.value(f"name in {lang}: R@10", key, LOCAL, LEXICAL, LOCAL_LEXICAL)
    composed = [Key(tasks.MIXED, query, sku) for query in (tasks.JOINT, tasks.PHOTO_ALONE, tasks.TEXT_ALONE)]
    yield judge.composed('photo + "the same in <colour>": exact SKU R@1', composed, COMPOSED)
    yield judge.lead("the same, minus the better of photo alone and text alone", composed, LEAD)
    for source, wanted in ((shown.PICTURE, PICTURE_CATEGORY), (shown.TITLED, TITLED_CATEGORY)):
        key = Key(classify.PREDICTION, source, classify.category_metric(2))
        yield judge.value(f"category level 2, {source}: top-1", key, wanted, VOTE)
    key = Key(classify.PREDICTION, shown.PICTURE, classify.attribute_metric(classify.COLOUR))
    yield judge.value(f"colour, {shown.PICTURE}: top-1", key, COLOUR, PALETTE)
    yield judge.value("core product box: mean IoU", Key(tasks.BOXES, tasks.FOUND_BOX, tasks.OVERLAP), OVERLAP, CENTRE)


def _recall(query: str) -> Key:
    return Key(texts.TEXTS, query, f"R@{DEPTH}")


def _graded(query: str) -> Key:
    return Key(texts.TEXTS, query, f"nDCG@{DEPTH}")


class _Judge:
    """Turns measured values into targets; None where there were no queries."""

    def __init__(self, scorer: Scorer) -> None:
        self._all, self._seed = scorer.values, scorer.seed

    def value(self, measure: str, key: Key, wanted: float, *beside: str) -> Target | None:
        values = self._all.get(key)
        if values is None:
            return None
        return self._target(measure, wanted, self._mean(values[MOON]), values, *beside)

    def ratio(self, measure: str, key: Key, wanted: float) -> Target | None:
        values = self._all.get(key)
        if values is None:
            return None
        ratio = bootstrap_ratio(values[MOON], values[LEXICAL], self._seed)
        return self._target(measure, wanted, ratio, values, MOON, LEXICAL)

    def composed(self, measure: str, keys: Sequence[Key], wanted: float) -> Target:
        values = self._moon(keys)
        joint, *alone = values
        return self._target(measure, wanted, self._mean(values[joint]), values, *alone)

    def lead(self, measure: str, keys: Sequence[Key], wanted: float) -> Target:
        """Over the better by its mean; the difference is of pairs."""
        values = self._moon(keys)
        joint, *alone = values
        better = max(alone, key=lambda query: values[query].mean())
        return self._target(measure, wanted, self._mean(values[joint] - values[better]), values, better)

    def never_worse(self, home: HomeSet, measure: str) -> Target | None:
        """Over all types of text queries: the type on which the fused search leads least, and those where it trails.

        BM25 alone may read the titles that serve it best, English ones or those in all languages.
        """
        leads = {}
        graded = [key for key in self._all if key.section == texts.TEXTS and key.metric == f"nDCG@{DEPTH}"]
        for key in graded:
            values = self._all[key]
            if FUSED in values and texts.is_one_type(key.query, home.queries):
                better = max(ALONE, key=lambda system: values[system].mean())
                leads[key.query] = (self._mean(values[FUSED] - values[better]), values)
        if not leads:
            return None
        missed = {query: lead.value for query, (lead, _) in leads.items() if lead.value < 0}
        worst, values = min(leads.values(), key=lambda pair: pair[0].value)
        note = "; ".join(f"{query} {value:+.3f}" for query, value in missed.items())
        return self._target(measure, 0.0, worst, values, FUSED, *ALONE, note=note)

    def _moon(self, keys: Sequence[Key]) -> Values:
        return {key.query: self._all[key][MOON] for key in keys}

    def _mean(self, values: NDArray[np.float64]) -> Score:
        return bootstrap(values, self._seed)

    def _target(
        self, measure: str, wanted: float, value: Score, values: Values, *beside: str, note: str = ""
    ) -> Target:
        others = {system: self._mean(values[system]) for system in beside if system in values}
        n = len(next(iter(values.values())))
        return Target(measure, wanted, value, value.value >= wanted, n, others, note)
