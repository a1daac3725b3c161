"""How the guided experts share the tokens of a training run (our decision, to see routers that collapse)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.module_tracker import ModuleTracker

from app.moon.experts import GuidedExperts
from app.moon.segments import TokenType
from trainer.data.record import MODALITIES
from trainer.losses.objectives import ObjectiveWeights

TYPES = (TokenType.OTHER, TokenType.CATEGORY, TokenType.ATTRIBUTE)


class ExpertLoad:
    """Mean routing weight of every expert by token type, over all layers and calls in training mode of this process.

    Every call counts once: what gradient checkpointing or gradient caching computes again during the backward pass is
    left out. Sums stay on the device of their layer until they are read.
    """

    def __init__(self, module: nn.Module) -> None:
        """Watch the routers of all :class:`GuidedExperts` inside ``module``, until :meth:`remove`."""
        self._layers = [layer for layer in module.modules() if isinstance(layer, GuidedExperts)]
        for layer in self._layers:
            layer.observers.append(self._count)
        self._backward = ModuleTracker()
        self.reset()

    def _count(self, layer: GuidedExperts, weights: Tensor, types: Tensor) -> None:
        if not layer.training or self._backward.is_bw:
            return
        with torch.no_grad():
            flat = weights.flatten(0, -2).float()
            member = torch.stack([types.flatten() == kind for kind in TYPES]).to(flat.dtype)
            totals = torch.cat([member @ flat, member.sum(dim=1, keepdim=True)], dim=1)
            self._totals[layer] = self._totals[layer] + totals if layer in self._totals else totals

    def read(self) -> dict[str, list[float]]:
        """Since the last reading: "other", "category", "attribute" to the mean weight per expert, reserved ones last.

        A type without tokens is left out. Starts anew.
        """
        totals = [layer.double().cpu() for layer in self._totals.values()]
        self.reset()
        if not totals:
            return {}
        total = torch.stack(totals).sum(dim=0)
        return {
            kind.name.lower(): (row[:-1] / row[-1]).tolist() for kind, row in zip(TYPES, total, strict=True) if row[-1]
        }

    def reset(self) -> None:
        """Forget what was counted."""
        self._totals: dict[GuidedExperts, Tensor] = {}

    def remove(self) -> None:
        """Watch no longer."""
        for layer in self._layers:
            layer.observers.remove(self._count)


def read_objectives(weights: ObjectiveWeights) -> tuple[dict[str, float], dict[str, Any]]:
    """For the log, the last weights of objectives by name, and what has a number per expert.

    ``expert_objectives`` has p, a row per expert; ``expert_use`` the mean routing weight of each free expert since the
    last reading, by objective. Objectives without samples are left out.
    """
    last, p, use = weights.read()
    numbers = {
        f"weight_{name}": round(weight, 5)
        for name, weight in zip(MODALITIES, last.tolist(), strict=True)
        if math.isfinite(weight)
    }
    there = {name: row.tolist() for name, row in zip(MODALITIES, use, strict=True) if row.isfinite().all()}
    return numbers, {"expert_objectives": p.tolist(), "expert_use": there}
