"""What the watcher of expert loads says beside a direct computation."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from app.moon.config import MoonConfig
from app.moon.experts import FullExperts
from app.moon.load import load_module
from app.moon.segments import TokenType
from trainer.data.record import MODALITIES
from trainer.losses.columns import ABSENT, FILLER
from trainer.losses.objectives import ObjectiveWeights
from trainer.losses.routing import sample_routing
from trainer.training.expert_load import ExpertLoad, read_objectives

WIDTH, EXPERTS = 8, 5
TYPES = (TokenType.OTHER, TokenType.CATEGORY, TokenType.ATTRIBUTE)


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


def assert_load(read: dict[str, dict[str, list[float]]], expected: dict[str, Tensor]) -> None:
    found = read["expert_load"]
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
    found = load.read()["expert_load"]
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
    assert load.read()["expert_load"].keys() == {"other"}


def step_of(views: int, rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples and labels; of several views some are absent, and one is a filler."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randint(0, len(MODALITIES), (rows, views, 3), generator=generator)
    labels = torch.ones(rows, views + 2, 4, dtype=torch.long)
    if views > 1:
        labels[0, 0, 0] = labels[2, 1, 0] = ABSENT
        labels[1, 1, 0] = FILLER
        samples[labels[:, :views, 0] < 0] = -1
    return samples, labels


@pytest.mark.parametrize("pieces", [5, 2])
@pytest.mark.parametrize("views", [1, 2])
def test_the_use_by_modality_is_the_mean_over_the_queries_of_a_step_and_documents_have_no_part(layers, views, pieces):
    rows, load, rest = 5, ExpertLoad(layers), {name: [] for name in MODALITIES}
    for seed in (0, 1):
        samples, labels = step_of(views, rows, seed)
        load.begin(samples, labels)
        for place in range(views + 2):
            own = (labels[:, place, 0] != ABSENT).nonzero().squeeze(1)
            for part in own.split(pieces):
                with sample_routing([*layers], gradient=False) as found:
                    for layer in layers:
                        layer.token_types = torch.randint(-1, 3, (len(part), 9))
                    layers(torch.randn(len(part), 9, WIDTH))
                routing = torch.stack(found).mean(dim=0)
                for row, used in zip(part.tolist(), routing, strict=True):
                    if place < views and (modality := int(samples[row, place, 2])) >= 0:
                        rest[MODALITIES[modality]].append(used)
    expected = {name: torch.stack(used).mean(dim=0) for name, used in rest.items() if used}
    use = load.read()["expert_use"]
    assert use.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(torch.tensor(use[name]), expected[name], atol=1e-6, rtol=0)
    assert load.read() == {}


def test_without_a_step_no_query_is_known(layers):
    load = ExpertLoad(layers)
    call(layers, 1)
    assert load.read().keys() == {"expert_load"}


def test_a_checkpointed_step_counts_its_queries_once(layers):
    use = []
    for again in (None, False, True):
        load = ExpertLoad(layers)
        load.begin(*step_of(1, 2))
        call(layers, 1, again)
        use.append(load.read()["expert_use"])
        load.remove()
    assert use[0] == use[1] == use[2]


def test_a_watched_step_has_the_gradients_of_an_unwatched_one_bit_for_bit(layers):
    found = []
    for watched in (False, True):
        load = ExpertLoad(layers)
        load.begin(*step_of(1, 2))
        if not watched:
            load.remove()
        layers.zero_grad()
        call(layers, 1)
        assert bool(load.read()) == watched
        found.append({name: parameter.grad.clone() for name, parameter in layers.named_parameters()})
    assert all(torch.equal(found[1][name], gradient) for name, gradient in found[0].items())


def test_a_whole_model_is_watched_and_its_segments_and_visual_tokens_are_told_apart(checkpoint):
    module = load_module(str(checkpoint), torch.float32).train()
    load = ExpertLoad(module)
    words = {"text": "<|title|> chair<|/title|><|category|> seats<|/category|>"}
    module(module.tokens([words, {"text": "a"}]))
    found = load.read()["expert_load"]
    assert found.keys() == {"other", "category"}
    torch.testing.assert_close(torch.tensor(found["other"]), torch.tensor([0.5, 0.5, 0, 0]))  # routers start at 0
    torch.testing.assert_close(torch.tensor(found["category"]), torch.tensor([1, 1, 1, 0]) / 3)
    module(module.tokens([{"image": [Image.new("RGB", (64, 64), "red")], **words}]))
    assert load.read()["expert_load"].keys() == {"visual", "other", "category"}
    load.remove()
    module(module.tokens([words]))
    assert load.read() == {}


def test_the_log_names_objectives_and_leaves_those_without_samples_out():
    weights = ObjectiveWeights(2, 3, "balanced")
    weights(torch.tensor([[0.7, 0.3], [0.5, 0.5], [0.1, 0.9]]), torch.tensor([0, 0, 2]), weights.matrix, 0)
    even = [[pytest.approx(1 / 3)] * 3] * 2
    assert read_objectives(weights) == (pytest.approx({"weight_image": 1, "weight_both": 1}, abs=1e-5), even)
    assert read_objectives(weights) == ({}, even)
