"""Running means of weights, what a step may know of them, and their state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.losses.view_chances import LIMITS, NEWEST, ViewChances

WEIGHTS = arrays(np.float32, (6, 3), elements=st.floats(np.float32(0.01), 3, width=32))


@given(WEIGHTS, st.integers(1, 4))
def test_a_step_draws_by_the_running_mean_of_what_was_known_so_many_steps_before(weights, delay):
    chances, mean, means = ViewChances(6, 3, 10, delay), np.ones(3), []
    for step, row in enumerate(weights):
        expected = means[step - delay] if step >= delay else np.ones(3)
        np.testing.assert_allclose(chances.of_step(step), expected, rtol=1e-4)
        assert chances.of_draw(10 * step + 9) == chances.of_step(step).tolist()
        chances.add(step, torch.tensor(row))
        mean = (1 - NEWEST) * mean + NEWEST * np.clip(row / row.mean(), *LIMITS)
        means.append(mean)


@given(WEIGHTS)
def test_chances_stay_within_the_limits_whatever_is_weighed(weights):
    chances = ViewChances(6, 3, 10, 1)
    for step, row in enumerate(weights):
        chances.add(step, torch.tensor(row))
        own = chances.of_step(step + 1)
        assert (own >= LIMITS[0] - 1e-6).all()
        assert (own <= LIMITS[1] + 1e-6).all()


def test_an_objective_without_samples_keeps_its_chance():
    chances = ViewChances(4, 3, 10, 1)
    chances.add(0, torch.tensor([1.5, 0.5, 1.0]))
    chances.add(1, torch.tensor([0.5, 1.5, torch.nan]))
    assert chances.of_step(2)[2] == chances.of_step(1)[2]
    assert chances.of_step(2)[0] < chances.of_step(1)[0]


def test_a_resumed_run_knows_what_was_known():
    first, second = (ViewChances(5, 3, 10, 2) for _ in range(2))
    for step in range(3):
        first.add(step, torch.tensor([2.0, 1.0, 0.5 + step]))
    second.load_state_dict(first.state_dict())
    assert [second.of_step(step).tolist() for step in range(5)] == [first.of_step(step).tolist() for step in range(5)]
    assert second.of_step(4).tolist() != pytest.approx([1, 1, 1])


def test_the_state_of_a_run_of_another_length_is_refused():
    with pytest.raises(ValueError, match="of 1 steps, and the run has 5"):
        ViewChances(5, 3, 10, 2).load_state_dict(ViewChances(1, 3, 10, 2).state_dict())


def test_a_process_that_reads_sees_what_the_trainer_adds():
    chances = ViewChances(3, 3, 10, 1)
    assert chances._means.is_shared()
    chances.load_state_dict(chances.state_dict())
    assert chances._means.is_shared()
