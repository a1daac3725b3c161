from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.calibration.search import RIGHT, TOLD_NOTHING, thresholds
from trainer.evaluation.asked import Answers


def answers(right_from: float) -> Answers:
    """100 queries of 24 hits at random scores; those from a score on are right."""
    scores = -np.sort(-np.random.default_rng(0).uniform(0, 1, (100, 24)), axis=1)
    return Answers(scores, scores >= right_from, scores >= right_from)


def test_best_matches_are_right_as_often_as_promised_and_few_queries_are_told_of_nothing():
    found = answers(0.9)
    learned = thresholds([found])
    assert learned.best is not None
    assert found.right[found.scores >= learned.best].mean() >= RIGHT
    assert (found.scores[:, 0] < learned.related).mean() <= TOLD_NOTHING


def test_without_right_hits_none_is_best():
    assert thresholds([answers(2.0)]).best is None


def test_related_is_never_above_best():
    learned = thresholds([answers(0.0)])
    assert learned.best is not None
    assert learned.related <= learned.best


def test_few_phrases_are_told_of_nothing_though_names_score_higher():
    names, phrases = answers(0.9), answers(0.9)
    phrases = replace(phrases, scores=phrases.scores / 2)
    learned = thresholds([names, phrases])
    for own in (names, phrases):
        assert (own.scores[:, 0] < learned.related).mean() <= TOLD_NOTHING
