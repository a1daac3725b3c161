"""Dynamic sample filtering (MOON2.0): triplets whose positive hardly beats their negative count for less.

phi = sigmoid(kappa * (q.p - q.n - margin)),    weight = phi / threshold where phi < threshold, else 1
"""

from __future__ import annotations

import torch
import torch.distributed
from sentence_transformers.util import get_world_size
from torch import Tensor, nn

KAPPA = 10.0
THRESHOLD = 0.6
MARGINS = (0.10, -0.05)
"""Cosine at the first and at the last step (our decision)."""


def margin(step: int, steps: int) -> float:
    """That of step ``step`` (from 0) of ``steps``: falls linearly from the first of ``MARGINS`` to the last."""
    first, last = MARGINS
    return first + (last - first) * min(1.0, step / max(1, steps - 1))


def confidence(positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """Phi of queries with these similarities to their positive and to their negative, all of shape (N,)."""
    return torch.sigmoid(KAPPA * (positives - negatives - margin))


class SampleFilter(nn.Module):
    """Weights of the samples of a batch, and what every sample since the last reading was worth.

    The weight phi / ``THRESHOLD`` of a rejected sample, and that it is a constant, are our decisions. What was not read
    yet stands in the state dict as a tensor, so that a resumed run loses none.
    """

    def __init__(self, steps: int) -> None:
        """``steps``: how many the run has."""
        super().__init__()
        self.steps = steps
        self._samples: list[Tensor] = []

    def forward(self, positives: Tensor, negatives: Tensor, step: int, sources: Tensor) -> Tensor:
        """Weights (N,), without gradient, of queries with these similarities to positive and negative, both (N,).

        ``sources`` (N, 2), integers, are the records the samples came from and the items that were their negatives, -1
        for those that were compared with another product of the batch.
        Samples of all ranks are kept; N may differ between them.
        """
        phi = confidence(positives.detach(), negatives.detach(), margin(step, self.steps))
        rows = torch.cat([sources.double(), phi.double()[:, None]], dim=1).cpu()
        parts = [rows] * get_world_size()
        if len(parts) > 1:
            torch.distributed.all_gather_object(parts, rows)
        self._samples += parts
        return (phi / THRESHOLD).clamp(max=1.0)

    @property
    def unread(self) -> int:
        """Samples since the last reading, of all ranks."""
        return sum(map(len, self._samples))

    def read(self) -> Tensor:
        """Record, negative and phi of every sample since the last reading, float64 (samples, 3). Starts anew."""
        samples = self.get_extra_state()
        self._samples = []
        return samples

    def get_extra_state(self) -> Tensor:
        return torch.cat([torch.zeros(0, 3, dtype=torch.float64), *self._samples])

    def set_extra_state(self, state: Tensor) -> None:
        self._samples = [state.cpu()]
