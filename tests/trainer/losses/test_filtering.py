"""Dynamic sample filtering beside its formula."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.losses.filtering import SampleFilter, margin


def test_the_margin_falls_linearly_from_the_first_step_to_the_last():
    assert [margin(step, 4) for step in range(4)] == pytest.approx([0.10, 0.05, 0.0, -0.05])
    assert margin(9, 4) == pytest.approx(-0.05)
    assert margin(0, 1) == pytest.approx(0.10)


@pytest.mark.parametrize("step", [0, 3, 9])
def test_weights_are_phi_over_the_threshold_at_most_1_and_constants(step):
    positives = torch.rand(50, requires_grad=True)
    negatives = torch.rand(50, requires_grad=True)
    weights = SampleFilter(10)(positives, negatives, step, torch.zeros(50, 2, dtype=torch.long))
    at = 0.10 - 0.15 * step / 9
    for row in range(50):
        phi = 1 / (1 + math.exp(-10 * (positives[row].item() - negatives[row].item() - at)))
        assert weights[row].item() == pytest.approx(phi / 0.6 if phi < 0.6 else 1.0, rel=1e-5)
    assert not weights.requires_grad


def test_samples_are_kept_until_they_are_read_and_survive_an_interruption():
    first, scores = SampleFilter(10), torch.tensor([0.9, 0.1, 0.5])
    first(scores, scores.flip(0), 0, torch.tensor([[7, 1], [6, 5], [8, 2]]))
    assert first.unread == 3
    resumed = SampleFilter(10)
    resumed.load_state_dict(first.state_dict())
    resumed(scores[:1], scores[:1], 1, torch.tensor([[9, 3]]))
    samples = resumed.read()
    assert samples[:, :2].tolist() == [[7, 1], [6, 5], [8, 2], [9, 3]]
    assert samples[0, 2].item() == pytest.approx(1 / (1 + math.exp(-10 * (0.9 - 0.5 - 0.1))))
    assert resumed.unread == 0
    assert resumed.read().shape == (0, 3)
