"""How the guided experts share the tokens of a training run (our decision, to see routers that collapse)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.module_tracker import ModuleTracker

from app.moon.experts import GuidedExperts
from app.moon.segments import TokenType
from app.moon.transformer import MoonTransformer
from trainer.data.record import MODALITIES
from trainer.losses.columns import ABSENT
from trainer.losses.objectives import ObjectiveWeights
from trainer.losses.routing import expert_use, of_samples

KINDS = ("visual", "other", "category", "attribute")
"""Of tokens; the visual ones are those that the model's own marker stands for, and none where it has no tokenizer."""


class ExpertLoad:
    """Mean routing weight of every expert by kind of token, and of free experts by query modality.

    Over all layers and calls in training mode of this process. Every call counts once: what gradient checkpointing or
    gradient caching computes again during the backward pass is left out. Nothing has a gradient, and sums stay on the
    device of their layer until they are read.
    """

    def __init__(self, module: nn.Module) -> None:
        """Watch the routers of all :class:`GuidedExperts` inside ``module``, until :meth:`remove`."""
        self._layers = [layer for layer in module.modules() if isinstance(layer, GuidedExperts)]
        for layer in self._layers:
            layer.observers.append(self._count)
        encoders = [part for part in module.modules() if isinstance(part, MoonTransformer)]
        self._handles = [part.register_forward_pre_hook(self._note_visual) for part in encoders]
        self._visual: Tensor | None = None
        self._backward = ModuleTracker()
        self._queries, self._seen = torch.zeros(0), dict[GuidedExperts, int]()
        self.reset()

    def begin(self, samples: Tensor, labels: Tensor) -> None:
        """A step begins, and asks first for its queries, view by view.

        ``samples`` (B, V, 3) and ``labels`` (B, columns, K) as :class:`~trainer.training.batches.TripletCollator` has
        them; fillers count nowhere.
        """
        there = labels[:, : samples.shape[1], 0] != ABSENT
        self._queries, self._seen = samples[..., 2].T[there.T], {}

    def _note_visual(self, encoder: MoonTransformer, args: tuple[Any, ...]) -> None:
        self._visual = args[0]["input_ids"] == encoder.markers.image

    def _count(self, layer: GuidedExperts, weights: Tensor, types: Tensor) -> None:
        if not layer.training or self._backward.is_bw:
            return
        first = self._seen.get(layer, 0)
        self._seen[layer] = first + len(weights)
        queries = self._queries[first : first + len(weights)]
        with torch.no_grad():
            self._add(self._loads, layer, *self._by_kind(weights, types))
            if len(queries):
                routing = of_samples(weights[..., : layer.config.free_experts], types)
                self._add(self._uses, layer, *expert_use(routing, queries, len(MODALITIES)))

    def _by_kind(self, weights: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the weights of the tokens of each of ``KINDS``, (kinds, experts), and their number (kinds,)."""
        other = types == TokenType.OTHER
        visual = other & (torch.zeros_like(other) if self._visual is None else self._visual)
        kinds = (visual, other & ~visual, types == TokenType.CATEGORY, types == TokenType.ATTRIBUTE)
        member = torch.stack([kind.flatten() for kind in kinds]).float()
        return member @ weights.flatten(0, -2).float(), member.sum(dim=1)

    @staticmethod
    def _add(totals: dict[GuidedExperts, Tensor], layer: GuidedExperts, total: Tensor, count: Tensor) -> None:
        row = torch.cat([total, count[:, None]], dim=1)
        totals[layer] = totals[layer] + row if layer in totals else row

    def read(self) -> dict[str, dict[str, list[float]]]:
        """Since the last reading: ``expert_load``, each of ``KINDS`` to the mean weight per expert, reserved ones last.

        And ``expert_use``, each query modality to that of free experts over the queries. What there was none of is
        left out. Starts anew.
        """
        found = {
            "expert_load": _means(KINDS, [*self._loads.values()]),
            "expert_use": _means(MODALITIES, [*self._uses.values()]),
        }
        self.reset()
        return {name: means for name, means in found.items() if means}

    def reset(self) -> None:
        """Forget what was counted."""
        self._loads: dict[GuidedExperts, Tensor] = {}
        self._uses: dict[GuidedExperts, Tensor] = {}

    def remove(self) -> None:
        """Watch no longer."""
        for layer in self._layers:
            layer.observers.remove(self._count)
        for handle in self._handles:
            handle.remove()


def _means(names: tuple[str, ...], totals: list[Tensor]) -> dict[str, list[float]]:
    """By name, from sums with their number behind them, (names, experts + 1) for each layer."""
    if not totals:
        return {}
    total = torch.stack([layer.double().cpu() for layer in totals]).sum(dim=0)
    return {name: (row[:-1] / row[-1]).tolist() for name, row in zip(names, total, strict=True) if row[-1]}


def read_objectives(weights: ObjectiveWeights) -> tuple[dict[str, float], list[list[float]]]:
    """For the log, the last weights of objectives by name, those without samples left out, and p, a row per expert."""
    last, p = weights.read()
    numbers = {
        f"weight_{name}": round(weight, 5)
        for name, weight in zip(MODALITIES, last.tolist(), strict=True)
        if math.isfinite(weight)
    }
    return numbers, p.tolist()
