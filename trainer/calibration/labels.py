"""Temperature, vote and the "not sure" threshold of labels that compete, from products whose labels are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from app.calibration import Competition
from app.schema import CATEGORY_SEPARATOR
from trainer.evaluation.certainty import least
from trainer.evaluation.contest import Contest, ancestor, answered, at_level, truths

TEMPERATURES = tuple(np.geomspace(0.01, 0.3, 18).round(4).tolist())
VOTES = tuple(np.linspace(0.0, 0.9, 10).round(2).tolist())
SURE = 0.9
"""Share of sure answers that are to be right (our decision)."""
SURE_FROM = 0.5
"""No answer below is sure: a sure one is more probable than all others together."""
LEAST_SURE = 20
"""A threshold is kept by at least so many sure answers."""
LEAST_PRODUCTS = 100
"""An attribute that so many examples have is fitted alone."""
LEAST_PROBABILITY = 1e-6
"""Probabilities below count as this, so that one surprise does not decide."""

Judged = tuple[Contest, NDArray[np.bool_]]
"""A contest and which labels are right, shape (products, labels)."""


def fit(judged: Sequence[Judged]) -> Competition:
    """Temperature and vote with the least mean negative log-likelihood of right labels over all products.

    Of several right labels, their probabilities count together. No threshold is set.
    """
    choices = [Competition(temperature=t, vote=vote) for t, vote in product(TEMPERATURES, VOTES)]
    return min(choices, key=lambda how: float(np.concatenate([_surprise(*one, how) for one in judged]).mean()))


def fit_category(contest: Contest, paths: Sequence[str]) -> Competition:
    """Fitted to the categories ``paths`` that the products end at, with a threshold per level of the tree."""
    how = fit([(contest, truths(contest.labels, [[path] for path in paths]))])
    found = contest.probabilities(how)
    depth = max(len(label.split(CATEGORY_SEPARATOR)) for label in contest.labels)
    sure = []
    for level in range(1, depth + 1):
        names, at = at_level(found, contest.labels, level)
        right = truths(names, [[ancestor(path, level)] for path in paths])
        sure.append(_threshold(*answered(at, right)))
    return how.model_copy(update={"sure": tuple(sure)})


def fit_attribute(judged: Sequence[Judged]) -> Competition:
    """Fitted to one attribute, or to several together, with one threshold."""
    how = fit(judged)
    answers = [answered(contest.probabilities(how), right) for contest, right in judged]
    confidences, rights = (np.concatenate(values) for values in zip(*answers, strict=True))
    return how.model_copy(update={"sure": (_threshold(confidences, rights),)})


def _threshold(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """The least probability from which on answers (answers,) are sure; None: never."""
    found = least(confidences, right, SURE, LEAST_SURE)
    return None if found is None else max(found, SURE_FROM)


def _surprise(contest: Contest, right: NDArray[np.bool_], how: Competition) -> NDArray[np.float64]:
    likelihood = (contest.probabilities(how) * right).sum(axis=1)
    return -np.log(np.maximum(likelihood, LEAST_PROBABILITY))
