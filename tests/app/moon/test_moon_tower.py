"""The EfficientNet-Lite vision tower."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModel

from app.moon.tower import EfficientNetLiteConfig, EfficientNetLiteModel, SameConv2d, efficientnet_state


@pytest.fixture(scope="module")
def tower() -> EfficientNetLiteModel:
    torch.manual_seed(0)
    return EfficientNetLiteModel(EfficientNetLiteConfig(image_size=64, grid=2)).eval()


@pytest.mark.parametrize(("pixels", "cells"), [(64, 2), (96, 3), (224, 7)])
def test_features_shrink_pictures_by_thirty_two(tower: EfficientNetLiteModel, pixels: int, cells: int):
    with torch.inference_mode():
        assert tower.features(torch.zeros(1, 3, pixels, pixels)).shape == (1, 1280, cells, cells)


def test_output_is_a_grid_of_visual_tokens(tower: EfficientNetLiteModel):
    with torch.inference_mode():
        out = tower(torch.randn(2, 3, 96, 96))
    assert out.last_hidden_state.shape == (2, 1280, 2, 2)
    assert out.pooler_output.shape == (2, 1280)


def test_number_of_parameters_is_that_of_the_published_model_without_classifier(tower: EfficientNetLiteModel):
    classifier = 1280 * 1000 + 1000
    assert sum(p.numel() for p in tower.parameters()) == 6_092_072 - classifier


def test_stays_in_evaluation_mode_so_statistics_do_not_drift(tower: EfficientNetLiteModel):
    parent = torch.nn.Sequential(tower).train()
    before = {name: buffer.clone() for name, buffer in tower.named_buffers()}
    tower(torch.randn(2, 3, 64, 64))
    assert parent.training
    assert not any(module.training for module in tower.modules())
    assert all(torch.equal(buffer, before[name]) for name, buffer in tower.named_buffers())


def test_folding_keeps_the_function():
    torch.manual_seed(0)
    tower = EfficientNetLiteModel(EfficientNetLiteConfig(image_size=64, grid=2))
    for module in tower.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(std=0.1)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 2.0)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    tower, pixels = tower.double(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        expected = tower(pixels)
    tower.fold()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in tower.modules())
    with torch.inference_mode():
        found = tower(pixels)
    for name in ("last_hidden_state", "pooler_output"):
        torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize(("size", "stride", "expected"), [(7, 1, 7), (7, 2, 4), (8, 2, 4), (9, 2, 5)])
def test_same_padding_gives_the_ceiling_of_size_by_stride(size: int, stride: int, expected: int):
    out = SameConv2d(1, 1, 3, stride)(torch.zeros(1, 1, size, size))
    assert out.shape[-2:] == (expected, expected)


def test_same_padding_puts_the_odd_pixel_at_the_end():
    conv = SameConv2d(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(conv.weight)
    assert conv(torch.ones(1, 1, 4, 4))[0, 0].tolist() == [[9.0, 6.0], [6.0, 4.0]]


def test_is_known_to_transformers_by_its_model_type(tower: EfficientNetLiteModel):
    config = AutoConfig.for_model("moon_efficientnet_lite", image_size=64, grid=2)
    with torch.device("meta"):
        assert isinstance(AutoModel.from_config(config), EfficientNetLiteModel)


def test_published_weights_map_by_order_without_the_classifier(tower: EfficientNetLiteModel):
    state = tower.state_dict()
    source = {f"_layer.{n}": tensor for n, tensor in enumerate(state.values())}
    source.update({"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)})
    mapped = efficientnet_state(source)
    assert mapped.keys() == state.keys()
    assert all(torch.equal(mapped[name], state[name]) for name in state)


def test_weights_of_another_model_are_refused():
    with pytest.raises(ValueError, match="EfficientNet-Lite2"):
        efficientnet_state({"_conv_stem.weight": torch.zeros(1)})
