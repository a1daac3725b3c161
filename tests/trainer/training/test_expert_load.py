"""What the watcher of expert loads says beside a direct computation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from app.moon.config import MoonConfig
from app.moon.experts import FullExperts
from app.moon.load import load_module
from trainer.losses.objectives import ObjectiveWeights
from trainer.training.expert_load import TYPES, ExpertLoad, read_objectives

WIDTH, EXPERTS = 8, 5


@pytest.fixture
def layers() -> nn.Sequential:
    torch.manual_seed(0)
    config = MoonConfig(experts=EXPERTS, top_k=2)
    layers = nn.Sequential(*(FullExperts(config, WIDTH, nn.Linear(WIDTH, WIDTH)) for _ in range(2)))
    for layer in layers:
        nn.init.normal_(layer.router.weight)
    return layers.train()


def call(layers: nn.Sequential, seed: int, again: bool | None = None) -> dict[str, list[list[float]]]:
    """Run both layers on random tokens, forward and backward; ``again``: checkpointed, reentrant or not.

    Returns the weights of every token by type, computed beside the call.
    """
    generator = torch.Generator().manual_seed(seed)
    types = torch.randint(-1, 3, (2, 9), generator=generator)
    x = torch.randn(2, 9, WIDTH, generator=generator, requires_grad=True)
    rows: dict[str, list[list[float]]] = {kind.name.lower(): [] for kind in TYPES}
    out = x
    for layer in layers:
        layer.token_types = types
        for kind in TYPES:
            weights = layer.weigh(out.flatten(0, 1) @ layer.router.weight.T, types.flatten())
            rows[kind.name.lower()] += weights[types.flatten() == kind].tolist()
        out = layer(out) if again is None else checkpoint(layer, out, use_reentrant=again)
    out.square().sum().backward()
    return rows


def mean(*calls: dict[str, list[list[float]]]) -> dict[str, Tensor]:
    return {name: torch.tensor([row for rows in calls for row in rows[name]]).mean(0) for name in calls[0]}


def assert_load(found: dict[str, list[float]], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(torch.tensor(found[name]), expected[name], atol=1e-6, rtol=0)


def test_the_load_is_the_mean_weight_over_real_tokens_calls_and_layers(layers):
    load = ExpertLoad(layers)
    found = call(layers, 1), call(layers, 2)
    assert_load(load.read(), mean(*found))


def test_reserved_experts_carry_their_own_type_only_and_every_type_sums_to_one(layers):
    load = ExpertLoad(layers)
    call(layers, 1)
    found = load.read()
    for name in ("other", "category", "attribute"):
        assert sum(found[name]) == pytest.approx(1)
        assert (found[name][-2] > 0) == (name == "category")
        assert (found[name][-1] > 0) == (name == "attribute")


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_call_counts_once(layers, reentrant: bool):
    load = ExpertLoad(layers)
    found = call(layers, 1), call(layers, 2, again=reentrant)
    assert_load(load.read(), mean(*found))


def test_reading_starts_anew(layers):
    load = ExpertLoad(layers)
    call(layers, 1)
    load.read()
    assert load.read() == {}
    found = call(layers, 2)
    assert_load(load.read(), mean(found))


def test_only_training_counts_and_only_until_the_hooks_go(layers):
    load = ExpertLoad(layers)
    call(layers.eval(), 1)
    assert load.read() == {}
    load.remove()
    call(layers.train(), 1)
    assert load.read() == {}


def test_a_type_without_tokens_is_left_out(layers):
    load = ExpertLoad(layers)
    layers[0](torch.randn(1, 4, WIDTH))
    assert load.read().keys() == {"other"}


def test_a_whole_model_is_watched_and_its_segments_told_apart(checkpoint):
    module = load_module(str(checkpoint), torch.float32).train()
    load = ExpertLoad(module)
    module(module.tokens([{"text": "<|title|> chair<|/title|><|category|> seats<|/category|>"}, {"text": "a"}]))
    found = load.read()
    assert found.keys() == {"other", "category"}
    torch.testing.assert_close(torch.tensor(found["other"]), torch.tensor([0.5, 0.5, 0, 0]))  # routers start at 0
    torch.testing.assert_close(torch.tensor(found["category"]), torch.tensor([1, 1, 1, 0]) / 3)


def test_the_log_names_objectives_and_leaves_those_without_samples_out():
    weights = ObjectiveWeights(2, 3, "balanced")
    weights(torch.tensor([[0.7, 0.3], [0.5, 0.5], [0.1, 0.9]]), torch.tensor([0, 0, 2]), weights.matrix, 0)
    numbers, by_expert = read_objectives(weights)
    assert numbers == pytest.approx({"weight_image": 1, "weight_both": 1}, abs=1e-5)
    assert by_expert["expert_use"] == {"image": pytest.approx([0.6, 0.4]), "both": pytest.approx([0.1, 0.9])}
    assert by_expert["expert_objectives"] == [[pytest.approx(1 / 3)] * 3] * 2
    assert read_objectives(weights) == ({}, {"expert_objectives": by_expert["expert_objectives"], "expert_use": {}})
