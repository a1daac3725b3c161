"""Batches for training with a frozen tower: token ids, and cached feature maps in the place of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from app.moon.transformer import MoonTransformer
from trainer.data.views import TowerMaps
from trainer.training.examples import Input


class MapTower(nn.Module):
    """Takes the vision tower's place while it is frozen and is handed the tower's output instead of pixels."""

    def forward(self, maps: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Pooled maps (pictures, channels, grid, grid) come back as ``last_hidden_state``."""
        return BaseModelOutputWithPooling(last_hidden_state=maps)


class Collator:
    """Inputs to the features that :class:`MoonTransformer` takes, pooled maps looked up instead of pictures decoded."""

    def __init__(self, module: MoonTransformer, maps: TowerMaps) -> None:
        self.tokenizer = module.words
        self.maps = maps
        self.image = module.processor.image_token * module.model.config.image_seq_length
        self.start = self.tokenizer.bos_token

    def __call__(self, inputs: Sequence[Input]) -> dict[str, Any]:
        texts = [self.start + self.image * len(item.views) + item.text for item in inputs]
        batch = dict(self.tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False))
        batch.pop("token_type_ids", None)
        views = [view for item in inputs for view in item.views]
        if views:
            maps = self.maps[[view for view, _ in views]]
            mirrored = torch.tensor([mirror for _, mirror in views])
            batch["pixel_values"] = torch.where(mirrored[:, None, None, None], maps.flip(3), maps)
        return {**batch, "modality": "message"}
