"""MOON's contrastive loss (paper, eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def infonce(positives: Tensor, negatives: Tensor, left_out: Tensor, temperature: Tensor) -> Tensor:
    """-log e^{p/t} / (e^{p/t} + sum over negatives e^{n/t}) of each query, shape (B,).

    Similarities of a query to its positive (B, 1) and to all documents (B, N); those ``left_out`` (B, N) do not count.
    A query without any negative has the loss 0.
    """
    hostile = (negatives / temperature).masked_fill(left_out, -torch.inf)
    logits = torch.cat([positives / temperature, hostile], dim=1)
    return functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long), reduction="none")
