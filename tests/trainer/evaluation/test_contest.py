from __future__ import annotations

import numpy as np
import pytest

from app.calibration import CATEGORY, Competition
from trainer.evaluation.contest import Contest, ancestor, answered, at_level, truths

CATEGORIES = ["Home", "Home > Lamps > desk lamp", "Home > Lamps > floor lamp", "Garden > Seats"]


@pytest.fixture
def contest():
    """Three products, four labels and 30 voters in a space of eight dimensions."""
    rng = np.random.default_rng(0)
    vectors, labels, voters = (rng.normal(size=(n, 8)).astype(np.float32) for n in (3, 4, 30))
    return Contest.of(vectors, CATEGORIES, labels, voters, [[CATEGORIES[n % 4]] for n in range(30)])


def test_only_the_nearest_products_vote(contest):
    assert contest.near.shape == (3, 20)
    assert (np.diff(contest.near, axis=1) <= 0).all()
    assert (contest.carried.sum(axis=2) == 1).all()


@pytest.mark.parametrize("how", [CATEGORY, Competition(temperature=0.3, vote=0.9)])
def test_a_level_is_as_probable_as_all_that_ends_below_it(contest, how):
    found = contest.probabilities(how)
    roots, at_root = at_level(found, CATEGORIES, 1)
    middle, at_middle = at_level(found, CATEGORIES, 2)
    assert (roots, middle) == (["Garden", "Home"], ["Garden > Seats", "Home", "Home > Lamps"])
    assert at_root.sum(axis=1) == pytest.approx(1)
    assert at_root[:, 1] == pytest.approx(found[:, :3].sum(axis=1))
    assert at_middle[:, 2] == pytest.approx(found[:, 1:3].sum(axis=1))


def test_a_category_that_ends_early_stands_for_itself():
    assert [ancestor("Home > Lamps > desk lamp", level) for level in (1, 2, 5)] == [
        "Home",
        "Home > Lamps",
        "Home > Lamps > desk lamp",
    ]


def test_any_of_several_right_labels_is_right():
    right = truths(["red", "blue", "green"], [["blue", "green"], ["red"]])
    confidence, hit = answered(np.array([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]]), right)
    assert (confidence.tolist(), hit.tolist()) == ([0.5, 0.6], [True, False])
