"""Routing by sample beside a count with loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from app.moon.config import MoonConfig
from app.moon.experts import FullExperts
from trainer.losses.routing import apart, beside, expert_use, sample_routing

WIDTH = 8


@pytest.fixture
def layers() -> list[FullExperts]:
    torch.manual_seed(0)
    config = MoonConfig(experts=5, top_k=2)
    layers = [FullExperts(config, WIDTH, nn.Linear(WIDTH, WIDTH)) for _ in range(2)]
    for layer in layers:
        nn.init.normal_(layer.router.weight)
        layer.token_types = torch.tensor([[0, 1, 2, 0, -1], [0, 0, 0, -1, -1], [-1, -1, -1, -1, -1]])
    return layers


def test_the_routing_of_a_sample_is_the_mean_over_its_real_tokens_of_free_experts(layers):
    x = torch.randn(3, 5, WIDTH)
    with sample_routing(layers, gradient=True) as found:
        for layer in layers:
            layer(x)
    for layer, routing in zip(layers, found, strict=True):
        for sample in range(3):
            total, tokens = np.zeros(3), 0
            for token in range(5):
                if layer.token_types[sample, token] >= 0:
                    weights = layer.weigh(
                        x[sample, token, None] @ layer.router.weight.T, layer.token_types[sample, token, None]
                    )
                    total, tokens = total + weights[0, :3].detach().numpy(), tokens + 1
            np.testing.assert_allclose(routing[sample].detach(), total / max(tokens, 1), atol=1e-6)
    assert found[0][2].tolist() == [0, 0, 0]


def test_nothing_is_collected_outside(layers):
    with sample_routing(layers, gradient=True) as found:
        pass
    layers[0](torch.randn(3, 5, WIDTH))
    assert found == []
    assert layers[0].observers == []


def test_a_checkpointed_call_is_collected_once_with_its_gradient(layers):
    x = torch.randn(3, 5, WIDTH, requires_grad=True)
    gradients = []
    for again in (False, True):
        with sample_routing(layers, gradient=True) as found:
            out = checkpoint(layers[0], x, use_reentrant=False) if again else layers[0](x)
        (out.sum() + found[0].square().sum()).backward()
        assert len(found) == 1
        gradients.append(layers[0].router.weight.grad.clone())
        layers[0].zero_grad()
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(gradients[1], gradients[0])


def test_without_gradient_the_routing_is_the_same_and_cut_off(layers):
    x = torch.randn(3, 5, WIDTH)
    with sample_routing(layers, gradient=False) as found, sample_routing(layers, gradient=True) as trained:
        layers[0](x)
    assert torch.equal(found[0], trained[0])
    assert not found[0].requires_grad


def test_routing_travels_beside_embeddings_and_comes_apart_again():
    columns = [(torch.randn(rows, 4), [torch.rand(rows, 2) for _ in range(3)]) for rows in (5, 2)]
    embeddings, routing = apart([beside(vectors, found) for vectors, found in columns], 2)
    for number, (vectors, found) in enumerate(columns):
        assert torch.equal(embeddings[number], vectors)
        torch.testing.assert_close(routing[number], (found[0] + found[1] + found[2]) / 3)
    assert beside(columns[0][0], []) is columns[0][0]


def test_use_is_summed_by_objective():
    routing, objectives = torch.rand(5, 2), torch.tensor([2, 0, 2, 0, 2])
    total, samples = expert_use(routing, objectives, 3)
    assert samples.tolist() == [2, 0, 3]
    for objective in range(3):
        rows = [routing[row].numpy() for row in range(5) if objectives[row] == objective]
        np.testing.assert_allclose(total[objective], np.sum(rows, axis=0) if rows else np.zeros(2), rtol=1e-6)
