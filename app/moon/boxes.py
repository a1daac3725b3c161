"""Boxes of core products: the learned detector, its loss, and how far boxes agree. Coordinates 0..1.

The paper detects the core product with a frozen grounding model; a small head on the vision tower's own feature map,
trained on boxes where a data set has them, is our decision for checkpoints that must be fast on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BoxHead(nn.Module):
    """One box per feature map: each cell proposes a box around itself, and the cells vote by softmax attention."""

    def __init__(self, channels: int, width: int = 160) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 5, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (batch, channels, height, width) to boxes (batch, 4) as x0, y0, x1, y1."""
        out = self.layers(maps)
        height, width = maps.shape[-2:]
        y = (torch.arange(height, device=maps.device, dtype=out.dtype) + 0.5) / height
        x = (torch.arange(width, device=maps.device, dtype=out.dtype) + 0.5) / width
        centres = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)])
        reach = functional.softplus(out[:, 1:] - 1.0)
        proposals = torch.cat([centres - reach[:, :2], centres + reach[:, 2:]], dim=1)
        votes = out[:, :1].flatten(2).softmax(dim=2)
        return (proposals.flatten(2) * votes).sum(dim=2).clamp(0.0, 1.0)


def box_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """L1 plus 1 - generalised IoU (Rezatofighi et al. 2019), both of shape (batch, 4); a scalar mean."""
    overlap, union = _overlap(predicted, target)
    hull = _area(
        torch.cat([torch.minimum(predicted[:, :2], target[:, :2]), torch.maximum(predicted[:, 2:], target[:, 2:])], 1)
    )
    generalised = overlap / union - (hull - union) / hull.clamp(min=1e-6)
    return (functional.l1_loss(predicted, target, reduction="none").sum(1) + 1.0 - generalised).mean()


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (n, 4) and (n, 4), shape (n,)."""
    overlap, union = _overlap(a, b)
    return overlap / union


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    sides = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    overlap = sides.prod(dim=1)
    return overlap, (_area(a) + _area(b) - overlap).clamp(min=1e-6)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
