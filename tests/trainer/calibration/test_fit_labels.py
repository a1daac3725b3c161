from __future__ import annotations

import numpy as np
import pytest

from app.calibration import CATEGORY
from trainer.calibration.labels import LEAST_SURE, SURE, fit, fit_attribute, fit_category
from trainer.evaluation.certainty import calibration_error
from trainer.evaluation.contest import Contest, answered, truths

LABELS = ["Home > a", "Home > b", "Garden > c"]
TEMPERATURE = 0.1


def drawn(n: int, seed: int = 0) -> tuple[Contest, list[str]]:
    """Products whose labels are drawn by a softmax at ``TEMPERATURE``; their neighbours know nothing."""
    rng = np.random.default_rng(seed)
    similarities = rng.uniform(-0.3, 0.3, (n, len(LABELS))).astype(np.float32)
    weights = np.exp(similarities / TEMPERATURE)
    chosen = [LABELS[rng.choice(len(LABELS), p=row / row.sum())] for row in weights]
    carried = np.eye(len(LABELS))[rng.integers(0, len(LABELS), (n, 4))]
    return Contest(LABELS, similarities, rng.uniform(0, 1, (n, 4)).astype(np.float32), carried), chosen


def test_the_temperature_that_made_the_labels_is_found_and_neighbours_at_random_get_no_vote():
    contest, chosen = drawn(2000)
    how = fit([(contest, truths(LABELS, [[one] for one in chosen]))])
    assert how.temperature == pytest.approx(TEMPERATURE, rel=0.25)
    assert how.vote <= 0.1


def test_neighbours_that_know_get_the_vote():
    contest, chosen = drawn(300)
    carried = np.repeat(truths(LABELS, [[one] for one in chosen])[:, None], 4, axis=1).astype(float)
    knowing = Contest(LABELS, contest.similarities, contest.near, carried)
    assert fit([(knowing, truths(LABELS, [[one] for one in chosen]))]).vote >= 0.8


def test_probabilities_can_be_believed_afterwards():
    contest, chosen = drawn(2000)
    right = truths(LABELS, [[one] for one in chosen])
    other, others = drawn(2000, seed=1)
    after = calibration_error(
        *answered(other.probabilities(fit([(contest, right)])), truths(LABELS, [[o] for o in others]))
    )
    before = calibration_error(*answered(other.probabilities(CATEGORY), truths(LABELS, [[o] for o in others])))
    assert after < before / 2


def test_sure_answers_of_each_level_are_as_often_right_as_promised():
    contest, chosen = drawn(2000)
    how = fit_category(contest, chosen)
    assert len(how.sure) == 2
    confidence, right = answered(contest.probabilities(how), truths(LABELS, [[one] for one in chosen]))
    sure = np.array([how.is_sure(probability, 1) for probability in confidence])
    assert sure.sum() >= LEAST_SURE
    assert right[sure].mean() >= SURE


def test_an_attribute_that_is_never_right_often_enough_is_never_sure():
    contest, _ = drawn(200)
    nothing_right = np.zeros((200, len(LABELS)), dtype=bool)
    assert fit_attribute([(contest, nothing_right)]).sure == (None,)
