from __future__ import annotations

import numpy as np
import pytest

from app.calibration import UNCALIBRATED as NO_CALIBRATION
from app.calibration import Competition
from trainer.evaluation.scores import MOON, UNCALIBRATED, Scorer
from trainer.evaluation.sureness import Sureness, sureness_rows

HOW = Competition(temperature=0.1, vote=0, sure=(0.6,))
CALIBRATED = NO_CALIBRATION.model_copy(update={"categories": {"photo": HOW}})
TOO_SURE = np.full(4, 0.9), np.array([1.0, 1.0, 0.0, 0.0])
TOO_SHY = np.full(4, 0.5), np.ones(4)


def rows(sureness: Sureness) -> dict:
    scorer = Scorer(seed=0)
    sureness_rows(sureness, scorer)
    return {row.metric: row.scores for row in scorer.rows}


def test_one_that_is_too_sure_and_one_that_is_too_shy_do_not_make_up_for_each_other():
    sureness = Sureness(CALIBRATED)
    for key, answers in (("color", TOO_SURE), ("room", TOO_SHY)):
        sureness.add("photo", "attributes", key, answers, answers, HOW)
    found = rows(sureness)["attributes: calibration error"]
    assert found.keys() == {MOON, UNCALIBRATED}
    assert found[MOON].value == pytest.approx((0.4 + 0.5) / 2)


def test_sure_answers_are_counted_and_judged():
    sureness = Sureness(CALIBRATED)
    for answers in (TOO_SURE, TOO_SHY):
        sureness.add("photo", "category", "category", answers, answers, HOW)
    found = rows(sureness)
    assert found["category: share of sure answers"][MOON].value == 0.5
    assert found["category: sure answers that are right"][MOON].value == 0.5


def test_without_a_calibration_only_the_error_before_is_told():
    sureness = Sureness(CALIBRATED)
    sureness.add("text", "category", "category", TOO_SURE, TOO_SURE, HOW)
    found = rows(sureness)
    assert list(found) == ["category: calibration error"]
    assert found["category: calibration error"].keys() == {UNCALIBRATED}
