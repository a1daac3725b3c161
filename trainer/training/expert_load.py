"""How the guided experts share the tokens of a training run (our decision, to see routers that collapse)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.module_tracker import ModuleTracker

from app.moon.experts import GuidedExperts
from app.moon.segments import TokenType

TYPES = (TokenType.OTHER, TokenType.CATEGORY, TokenType.ATTRIBUTE)


class ExpertLoad:
    """Mean routing weight of every expert by token type, over all layers and calls in training mode of this process.

    Every call counts once: what gradient checkpointing or gradient caching computes again during the backward pass is
    left out. Sums stay on the device of their layer until they are read.
    """

    def __init__(self, module: nn.Module) -> None:
        """Watch the routers of all :class:`GuidedExperts` inside ``module``, until :meth:`remove`."""
        self._layers = [layer for layer in module.modules() if isinstance(layer, GuidedExperts)]
        self._hooks = [layer.router.register_forward_hook(partial(self._count, layer)) for layer in self._layers]
        self._backward = ModuleTracker()
        self.reset()

    def _count(self, layer: GuidedExperts, router: nn.Module, args: tuple[Tensor], logits: Tensor) -> None:
        if not layer.training or self._backward.is_bw:
            return
        types = layer.token_types
        types = torch.zeros(len(logits), device=logits.device) if types is None else types.reshape(-1)
        with torch.no_grad():
            weights = layer.weigh(logits, types)
            member = torch.stack([types == kind for kind in TYPES]).to(weights.dtype)
            totals = torch.cat([member @ weights, member.sum(dim=1, keepdim=True)], dim=1)
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
        for hook in self._hooks:
            hook.remove()
