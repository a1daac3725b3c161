"""Fewer visual tokens: what is alike becomes one, the rest stays where it was, and all get an output."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import picture, stir, upcycle

from app.moon.fast_decoder import FastDecoder
from app.moon.load import moon_model
from app.moon.merging import Merging, stand_ins
from app.moon.prompt import model_input, product_text, query_text
from app.moon.transformer import MoonTransformer
from app.schema import Product

CHAIR = Product(id="1", title="oak chair", category=["Furniture", "Chairs"], attributes={"color": ["red"]})
INPUTS = [
    model_input([picture(1), picture(2, (50, 90))], product_text(CHAIR)),
    model_input([], query_text("a large red leather sofa")),
    model_input([picture(3)], ""),
]
ALMOST_ALL = 1 - 1e-9
"""A share that takes the way of fewer tokens without merging any."""


def merging(module: MoonTransformer, share: float) -> MoonTransformer:
    module.keep_visual_tokens = share
    return module


def tokens_of(module: MoonTransformer, inputs: list[dict[str, Any]]) -> torch.Tensor:
    with torch.inference_mode():
        return module(module.tokens(inputs))["token_embeddings"]


def decoder_calls(module: MoonTransformer) -> list[dict[str, Any]]:
    """What the decoder is called with from now on."""
    calls: list[dict[str, Any]] = []
    module.model.get_decoder().register_forward_pre_hook(lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True)
    return calls


@pytest.mark.parametrize(("count", "expected"), [(7, 7), (5, 5), (3, 3), (1, 1)])
def test_as_many_are_left_as_wished_and_they_stand_for_themselves(count: int, expected: int):
    chosen = stand_ins(torch.randn(7, 4, generator=torch.Generator().manual_seed(0)), count)
    assert len(chosen.unique()) == expected
    assert torch.equal(chosen[chosen], chosen)


def test_tokens_beside_their_like_are_merged_with_it():
    kinds = torch.tensor([0, 0, 1, 1, 2, 2])
    tokens = torch.eye(3)[kinds] * torch.arange(1, 7).unsqueeze(1)
    chosen = stand_ins(tokens, 3)
    assert torch.equal(kinds[chosen], kinds)


def test_a_picture_of_one_colour_is_merged_too():
    chosen = stand_ins(torch.ones(60, 4), 3)
    assert len(chosen.unique()) == 3


def test_the_stand_in_takes_the_mean_its_own_place_and_answers_for_all():
    embedded = torch.tensor([[[9.0, 9.0], [1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [5.0, 5.0], [7.0, 7.0]]])
    visual = torch.tensor([[False, True, True, True, False, False]])
    counted = torch.tensor([[True, True, True, True, True, False]])
    found = Merging.of(embedded, visual, counted, 0.5)
    types = torch.tensor([[0, 0, 0, 0, 1, -1]])
    shorter = found.shorten({"inputs_embeds": embedded, "token_types": types, "position_ids": None})
    assert shorter["inputs_embeds"].tolist() == [[[9.0, 9.0], [2.0, 0.0], [0.0, 2.0], [5.0, 5.0]]]
    assert shorter["position_ids"].tolist() == [[0, 2, 3, 4]]
    assert shorter["token_types"].tolist() == [[0, 0, 0, 1]]
    output = torch.tensor([[[0.1], [0.2], [0.3], [0.4]]])
    assert found.restore(output)[0, :5, 0].tolist() == pytest.approx([0.1, 0.2, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_the_way_of_fewer_tokens_changes_nothing_where_none_is_merged(base: Path, side: str, attention: str):
    module = stir(upcycle(base, attention=attention))
    module.tokenizer.padding_side = side
    real = module.tokens(INPUTS)["attention_mask"].bool()
    expected, found = tokens_of(module, INPUTS), tokens_of(merging(module, ALMOST_ALL), INPUTS)
    torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_fewer_tokens_pass_and_a_row_does_not_depend_on_its_batch(base: Path, side: str):
    module = merging(stir(upcycle(base)), 0.5)
    module.tokenizer.padding_side = side
    model, calls = moon_model(module), decoder_calls(module)
    alone = model.encode(INPUTS, batch_size=1)
    ids = module.tokens(INPUTS[:1])["input_ids"][0]
    visual = int((ids == module.markers.image).sum())
    lengths = {call["inputs_embeds"].shape[1] for call in calls}
    assert len(ids) - visual // 2 in lengths
    assert len(ids) not in lengths
    np.testing.assert_allclose(model.encode(INPUTS, batch_size=3), alone, atol=1e-4)
    assert not np.allclose(moon_model(merging(module, 1.0)).encode(INPUTS[:1]), alone[:1], atol=1e-4)


@pytest.mark.parametrize("architecture", ["qwen2.5-vl", "qwen3-vl"])
def test_rotary_positions_stay_those_of_the_whole_picture(base_of: Callable[[str], Path], architecture: str):
    module = stir(upcycle(base_of(architecture)))
    calls = decoder_calls(module)
    whole, shorter = tokens_of(module, INPUTS[:1]), tokens_of(merging(module, 0.25), INPUTS[:1])
    assert whole.shape == shorter.shape
    all_positions, kept = (call["position_ids"][:, 0].T.tolist() for call in calls)
    assert len(kept) < len(all_positions)
    remaining = iter(all_positions)
    assert all(position in remaining for position in kept)  # in this order
    assert kept[-1] == all_positions[-1]


def test_features_of_deep_stack_are_merged_alike(base_of: Callable[[str], Path]):
    module = stir(upcycle(base_of("qwen3-vl")))
    calls = decoder_calls(module)
    for share in (1.0, 1e-9):
        tokens_of(merging(module, share), INPUTS[2:])
    (whole,), (merged,) = (call["deepstack_visual_embeds"] for call in calls)
    assert calls[1]["visual_pos_masks"].sum() == 1
    torch.testing.assert_close(merged, whole.mean(dim=0, keepdim=True))


def test_the_way_around_the_llm_keeps_every_token(fast_base: Path):
    module = upcycle(fast_base, skip=True)  # its gate is closed
    assert torch.equal(tokens_of(merging(module, 0.25), INPUTS), tokens_of(merging(module, 1.0), INPUTS))


@pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed")
def test_the_fast_decoder_gives_the_same(fast_base: Path):
    modules = [stir(upcycle(fast_base, attention="bidirectional", expert_rank=4, skip=True)) for _ in range(2)]
    FastDecoder.of(modules[1].model.get_decoder(), modules[1].moon)
    assert isinstance(modules[1].model.get_decoder(), FastDecoder)
    real = modules[0].tokens(INPUTS)["attention_mask"].bool()
    expected, found = (tokens_of(merging(module, 0.5), INPUTS)[real] for module in modules)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
