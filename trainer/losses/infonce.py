"""MOON's contrastive loss (paper, eq. 5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def infonce(positives: Tensor, negatives: Tensor, left_out: Tensor, temperature: Tensor) -> Tensor:
    """-log e^{p/t} / (e^{p/t} + sum over negatives e^{n/t}) of each query, shape (B,).

    Similarities of a query to its positive (B, 1) and to all documents (B, N); those ``left_out`` (B, N) do not count.
    A query without any negative has the loss 0.
    """
    hostile = (negatives / temperature).masked_fill(left_out, -torch.inf)
    logits = torch.cat([positives / temperature, hostile], dim=1)
    return functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long), reduction="none")


class InfoNCE(nn.Module):
    """L = -log e^{q.p/t} / (e^{q.p/t} + sum over negatives e^{q.n/t}), averaged over the queries.

    Negatives are the other queries' positives, the query's hard negative and the other queries' hard negatives. Our
    decisions: the temperature is learned, from 0.05, within [0.01, 0.1]; a negative more similar to the query than
    the positive by over 0.1 is taken for an unlabelled positive and left out.
    """

    def __init__(self, temperature: float = 0.05, margin: float = 0.1) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.margin = margin

    @property
    def temperature(self) -> Tensor:
        return self.log_temperature.exp().clamp(0.01, 0.1)

    def forward(self, queries: Tensor, documents: Tensor, masked: Tensor) -> Tensor:
        """Unit vectors (B, d) and (2B, d), positives first; ``masked`` (B, 2B) marks false negatives. A scalar."""
        if documents.shape[0] != 2 * queries.shape[0] or masked.shape != (queries.shape[0], documents.shape[0]):
            raise ValueError(
                f"expected 2 documents per query and a mask of their shape, got {tuple(queries.shape)} queries, "
                f"{tuple(documents.shape)} documents, mask {tuple(masked.shape)}"
            )
        similarities = queries @ documents.T
        positives = similarities.diagonal()[:, None].detach()
        rows = torch.arange(len(queries), device=queries.device)
        left_out = masked | (similarities.detach() > positives + self.margin)
        left_out[rows, rows] = False
        logits = (similarities / self.temperature).masked_fill(left_out, -torch.inf)
        return functional.cross_entropy(logits, rows)
