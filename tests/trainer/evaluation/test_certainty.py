from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.certainty import calibration_error, least, separation

ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def plain_error(answers: list[tuple[float, bool]], bins: int = 15) -> float:
    """The definition, word by word: bins of equal width, the last one closed."""
    error = 0.0
    for number in range(bins):
        inside = [(p, right) for p, right in answers if min(int(p * bins), bins - 1) == number]
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            confidence = sum(p for p, _ in inside) / len(inside)
            error += len(inside) / len(answers) * abs(accuracy - confidence)
    return error


@given(ANSWERS)
def test_calibration_error_is_as_defined(answers):
    confidences, right = zip(*answers, strict=True)
    assert calibration_error(confidences, right) == pytest.approx(plain_error(answers))


def test_answers_as_often_right_as_they_say_have_no_error():
    assert calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)
    assert calibration_error([1.0, 1.0], [False, False]) == 1.0


def test_without_answers_there_is_no_error_to_tell():
    with pytest.raises(ValueError, match="no answers"):
        calibration_error([], [])


@given(ANSWERS, st.floats(0.1, 1), st.integers(1, 10))
def test_from_the_least_value_on_the_precision_holds_and_below_it_does_not(answers, precision, count):
    values, right = (np.array(column) for column in zip(*answers, strict=True))
    found = least(values, right, precision, count)

    def holds(value: float) -> bool:
        return (values >= value).sum() >= count and right[values >= value].sum() >= precision * (values >= value).sum()

    assert {value for value in values if holds(value) and (found is None or value < found)} == set()
    assert found is None or holds(found)


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_separation_is_the_share_of_pairs_in_order(known, foreign):
    pairs = [(a > b) + (a == b) / 2 for a in known for b in foreign]
    assert separation(np.array(known, float), np.array(foreign, float)) == pytest.approx(np.mean(pairs))
