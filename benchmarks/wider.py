"""More free experts for a checkpoint whose experts are untrained, so that its routers have a choice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from app.moon.experts import LowRankExperts, decoder_layers
from app.moon.load import load_module, save_moon


def widen(start: Path, out: Path, experts: int) -> None:
    """Write ``start`` with so many experts per layer, the reserved two included; it computes what it computed.

    Raises ValueError where experts are no low-rank updates, or have learned something already, which others would
    lack.
    """
    torch.manual_seed(0)
    module = load_module(str(start))
    config = replace(module.moon, experts=experts)
    for layer in decoder_layers(module.model):
        old = layer.mlp
        if not isinstance(old, LowRankExperts) or config.expert_rank is None:
            raise ValueError(f"{start} has no low-rank experts in every layer")
        if any(b.any() for part in (old.gate, old.up, old.down) for b in part.b) or old.router.weight.any():
            raise ValueError(f"the experts of {start} are trained")
        width = old.router.in_features
        layer.mlp = LowRankExperts(config, width, old.shared, config.expert_rank).to(old.router.weight.dtype)
    module.model.config.moon = config.to_dict()
    unfinished = out.with_name(f"{out.name}.tmp")
    save_moon(module, unfinished)
    unfinished.rename(out)
