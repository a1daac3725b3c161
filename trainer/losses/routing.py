"""How the guided experts share the tokens of each sample: what the weights of objectives are made of (MOON2.0)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from app.moon.experts import GuidedExperts
from app.moon.segments import TokenType


@contextmanager
def sample_routing(layers: Sequence[GuidedExperts], *, gradient: bool) -> Iterator[list[Tensor]]:
    """Collect the routing by sample of the model calls inside; the list is filled at the end, per layer and call.

    Every tensor is what :func:`of_samples` makes of the weights of free experts, with their ``gradient`` or without.
    What gradient checkpointing computes again comes after the calls and is not collected; the means are taken outside
    of what it computes again.
    """
    calls: list[tuple[Tensor, Tensor]] = []
    found: list[Tensor] = []

    def note(layer: GuidedExperts, weights: Tensor, types: Tensor) -> None:
        free = weights[..., : layer.config.free_experts]
        calls.append((free if gradient else free.detach(), types))

    for layer in layers:
        layer.observers.append(note)
    try:
        yield found
    finally:
        for layer in layers:
            layer.observers.remove(note)
    found.extend(of_samples(weights, types) for weights, types in calls)


def of_samples(weights: Tensor, types: Tensor) -> Tensor:
    """Mean over each sample's real tokens, (batch, experts), of weights (batch, tokens, experts), 0 on padding.

    Types have the shape (batch, tokens). In single precision.
    """
    real = (types != TokenType.PADDING).sum(dim=1, keepdim=True).clamp(min=1)
    return weights.float().sum(dim=1) / real


def beside(embeddings: Tensor, found: Sequence[Tensor]) -> Tensor:
    """Embeddings (batch, d) with the mean over layers of the routing of one call behind them, (batch, d + experts).

    So gradient caching carries both, with their gradients. As they are if nothing was collected.
    """
    return torch.cat([embeddings, torch.stack([*found]).mean(dim=0)], dim=1) if found else embeddings


def apart(embedded: Sequence[Tensor], experts: int) -> tuple[list[Tensor], list[Tensor]]:
    """The inverse of :func:`beside` for several columns: embeddings, and routing."""
    width = embedded[0].shape[1] - experts
    return [column[:, :width] for column in embedded], [column[:, width:] for column in embedded]


def expert_use(routing: Tensor, objectives: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sum of the routing (N, experts) of the samples of each objective, (count, experts), and their number (count,).

    ``objectives`` (N,) are numbers from 0.
    """
    member = torch.stack([objectives == number for number in range(count)]).to(routing.dtype)
    return member @ routing, member.sum(dim=1)
