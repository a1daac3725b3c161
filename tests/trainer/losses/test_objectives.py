"""Weights of objectives beside the formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from trainer.losses.objectives import ObjectiveWeights
from trainer.losses.view_chances import LIMITS, ViewChances

EXPERTS, OBJECTIVES = 3, 3


def batch(seed: int = 0, rows: int = 20, objectives: int = OBJECTIVES) -> tuple[torch.Tensor, torch.Tensor]:
    """Routing that needs a gradient, and objectives."""
    generator = torch.Generator().manual_seed(seed)
    routing = torch.rand(rows, EXPERTS, generator=generator).softmax(dim=1).requires_grad_()
    return routing, torch.randint(0, objectives, (rows,), generator=generator)


def module(weighing: str, seed: int = 1, **options: float) -> ObjectiveWeights:
    made = ObjectiveWeights(EXPERTS, OBJECTIVES, weighing, **options)
    torch.nn.init.normal_(made.matrix, generator=torch.Generator().manual_seed(seed), std=2.0)
    return made


def softmax(matrix: torch.Tensor) -> NDArray[np.float64]:
    powers = np.exp(matrix.detach().double().numpy())
    return powers / powers.sum(axis=1, keepdims=True)


def plain(p: NDArray[np.float64], routing: torch.Tensor, objectives: torch.Tensor) -> NDArray[np.float64]:
    """w_m as the paper writes it, NaN for an objective without samples."""
    weights = []
    for m in range(OBJECTIVES):
        rows = [routing[i].tolist() for i in range(len(routing)) if objectives[i] == m]
        each = [sum(p[z, m] * row[z] for z in range(EXPERTS)) for row in rows]
        weights.append(np.mean(each) if each else np.nan)
    return np.array(weights)


def test_literal_weights_are_the_formula_and_train_matrix_and_routers():
    weights, (routing, objectives) = module("literal"), batch()
    found = weights.weights(*weights.use(routing, objectives), weights.matrix)
    np.testing.assert_allclose(found.detach(), plain(softmax(weights.matrix), routing, objectives), rtol=1e-5)
    found[0].backward()
    assert weights.matrix.grad.abs().sum() > 0
    assert routing.grad.abs().sum() > 0


@pytest.mark.parametrize("seed", range(5))
def test_balanced_weights_are_the_formula_over_its_mean_within_the_limits_and_constants(seed):
    weights, (routing, objectives) = module("balanced", seed), batch(seed)
    found = weights.weights(*weights.use(routing, objectives), weights.matrix)
    formula = plain(softmax(weights.matrix), routing, objectives)
    np.testing.assert_allclose(found, np.clip(formula / formula.mean(), *LIMITS), rtol=1e-5)
    assert not found.requires_grad


def test_balanced_weights_have_the_mean_1_unless_they_are_clamped():
    weights, (routing, objectives) = module("balanced"), batch()
    weights.matrix.data /= 10
    found = weights.weights(*weights.use(routing, objectives), weights.matrix)
    assert found.mean().item() == pytest.approx(1)
    assert found.std() > 0


NUMBERS = arrays(np.int64, 12, elements=st.integers(0, OBJECTIVES - 1))
MATRICES = arrays(np.float32, (EXPERTS, OBJECTIVES), elements=st.floats(-10, 10, width=32))
SHARES = arrays(np.float32, (12, EXPERTS), elements=st.floats(np.float32(0.01), 1, width=32))


def weighed(
    weighing: str, matrix: NDArray[np.float32], shares: NDArray[np.float32], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Weights, mean routing by objective, and which objectives have samples; rows of ``shares`` sum to 1 at most."""
    weights = ObjectiveWeights(EXPERTS, OBJECTIVES, weighing)
    routing = torch.tensor(shares / np.maximum(1, shares.sum(axis=1, keepdims=True)))
    use, samples = weights.use(routing, torch.tensor(numbers))
    found = weights.weights(use, samples, torch.tensor(matrix))
    return found.double().numpy(), use.double().numpy(), samples.numpy() > 0


@given(MATRICES, SHARES, NUMBERS)
def test_literal_weights_sum_to_between_least_and_greatest_use_of_every_expert(matrix, shares, numbers):
    weights, use, _ = weighed("literal", matrix, shares, numbers)
    assert (weights <= use.sum(axis=1) + 1e-5).all()
    assert (use.sum(axis=1) <= 1 + 1e-5).all()
    assert use.min(axis=0).sum() - 1e-5 <= weights.sum() <= use.max(axis=0).sum() + 1e-5


@given(MATRICES, SHARES, NUMBERS)
def test_literal_weights_sum_to_the_routing_where_all_objectives_use_the_experts_alike(matrix, shares, numbers):
    numbers[:OBJECTIVES] = range(OBJECTIVES)
    weights, use, _ = weighed("literal", matrix, np.tile(shares[:1], (12, 1)), numbers)
    assert weights.sum() == pytest.approx(use[0].sum(), abs=1e-5)


def test_literal_weights_sum_to_as_many_as_there_are_objectives_where_each_has_an_expert_of_its_own():
    numbers = np.arange(12) % OBJECTIVES
    own = np.eye(EXPERTS, dtype=np.float32)
    weights, _, _ = weighed("literal", 40 * own, own[numbers], numbers)
    assert weights == pytest.approx([1, 1, 1])


@given(MATRICES, SHARES, NUMBERS)
def test_balanced_weights_sum_to_the_objectives_of_the_batch_or_up_to_a_half_more(matrix, shares, numbers):
    weights, _, there = weighed("balanced", matrix, shares, numbers)
    assert there.sum() - 1e-5 <= weights.sum() <= there.sum() + 0.5 + 1e-5
    assert (weights[~there] == 0).all()
    assert ((weights[there] >= LIMITS[0]) & (weights[there] <= LIMITS[1])).all()
    if not np.isin(weights[there], LIMITS).any():
        assert weights.sum() == pytest.approx(there.sum(), abs=1e-5)


def test_what_reserved_experts_take_changes_no_balanced_weight():
    weights, (routing, objectives) = module("balanced"), batch()
    found = weights.weights(*weights.use(routing, objectives), weights.matrix)
    lacking = routing * (1 - 0.4 * (objectives == 1))[:, None]
    torch.testing.assert_close(weights.weights(*weights.use(lacking, objectives), weights.matrix), found)


def test_an_objective_without_samples_has_no_share_in_the_mean():
    weights, (routing, objectives) = module("balanced"), batch(objectives=2)
    weights.matrix.data /= 10
    found = weights.weights(*weights.use(routing, objectives), weights.matrix)
    assert found[:2].mean().item() == pytest.approx(1)
    assert found[2] == 0


@pytest.mark.parametrize("weighing", ["literal", "balanced"])
def test_the_penalty_is_cross_entropy_and_from_its_start_on_sparsity(weighing):
    weights, (routing, objectives) = module(weighing, sparsity=0.5, sparsity_start=7), batch()
    use, samples = weights.use(routing.detach(), objectives)
    p, expected = softmax(weights.matrix), 0.0
    if weighing == "balanced":
        for m in range(OBJECTIVES):
            rows = [routing[i].tolist() for i in range(len(routing)) if objectives[i] == m]
            each = [sum(row[z] * np.log(p[z, m]) for z in range(EXPERTS)) for row in rows]
            expected -= np.mean(each) / OBJECTIVES
    entropy = np.mean([-sum(p[z, m] * np.log(p[z, m]) for m in range(OBJECTIVES)) for z in range(EXPERTS)])
    assert weights.penalty(use, samples, weights.matrix, 6).item() == pytest.approx(expected, rel=1e-5)
    late = weights.penalty(use, samples, weights.matrix, 7)
    assert late.item() == pytest.approx(expected + 0.5 * entropy, rel=1e-5)
    late.backward()
    assert weights.matrix.grad.abs().sum() > 0


def test_balanced_the_matrix_learns_the_share_of_each_objective_in_the_use_of_an_expert():
    weights, (routing, objectives) = module("balanced"), batch(rows=60)
    optimizer = torch.optim.Adam(weights.parameters(), lr=0.1)
    use, samples = weights.use(routing.detach(), objectives)
    for step in range(400):
        optimizer.zero_grad()
        weights.penalty(use, samples, weights.matrix, step).backward()
        optimizer.step()
    share = use.T / use.sum(dim=0)[:, None]
    torch.testing.assert_close(weights.matrix.softmax(dim=1), share, atol=1e-3, rtol=0)


def test_sparsity_makes_experts_specialise():
    weights = module("literal", sparsity=1.0)
    (use, samples), before = weights.use(*batch()), weights.matrix.softmax(dim=1).max(dim=1).values
    optimizer = torch.optim.Adam(weights.parameters(), lr=0.1)
    for step in range(50):
        optimizer.zero_grad()
        weights.penalty(use.detach(), samples, weights.matrix, step).backward()
        optimizer.step()
    assert (weights.matrix.softmax(dim=1).max(dim=1).values > before).all()


def test_the_weights_of_the_last_batch_are_read_once():
    weights = module("balanced")
    for seed in range(3):
        routing, objectives = batch(seed, objectives=2)
        of_samples, _ = weights(routing, objectives, weights.matrix, 0)
    last, p = weights.read()
    assert torch.equal(last[objectives], of_samples)
    assert last[2].isnan()
    np.testing.assert_allclose(p, softmax(weights.matrix), rtol=1e-5)
    assert weights.read()[0].isnan().all()


@pytest.mark.parametrize("weighing", ["literal", "balanced"])
def test_queries_drawn_by_weight_cost_on_average_what_all_views_cost_by_their_weights(weighing):
    """With V views of cost c_m, drawn by chance a_m: the mean over draws is sum of w_m c_m over the sum of a_m."""
    chances = ViewChances(steps=30, objectives=OBJECTIVES, draws=20, delay=2)
    weights = module(weighing, chances=chances)
    routing, objectives = batch(rows=60)
    for step in range(25):
        of_samples, _ = weights(routing, objectives, weights.matrix, step)
    w = weights.weights(*weights.use(routing, objectives), weights.matrix)
    drawn_by = chances.of_step(24)
    assert drawn_by.std() > 0.1
    cost, shares = torch.tensor([1.0, 2.0, 5.0]), drawn_by / drawn_by.sum()
    own = torch.stack([of_samples[objectives == m][0] for m in range(OBJECTIVES)])
    torch.testing.assert_close((shares * own * cost).sum(), (w * cost).sum() / drawn_by.sum())
    assert of_samples.requires_grad == (weighing == "literal")
