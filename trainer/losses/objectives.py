"""How much each objective counts, by the experts that it uses (MOON2.0, modality-driven mixture of experts).

    p = softmax over objectives (W*),    w_m = mean over the samples of objective m of sum_z p[z, m] r_z

W* has a row per free expert and a column per objective: text, image and image+text queries. r_z is the mean routing
weight of expert z over the tokens of a sample, see :mod:`trainer.losses.routing`.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed
from sentence_transformers.util import get_world_size
from torch import Tensor, nn
from torch.distributed.nn import functional as collectives
from torch.nn import functional

from trainer.losses.routing import expert_use
from trainer.losses.view_chances import LIMITS, ViewChances

Weighing = Literal["literal", "balanced"]


class ObjectiveWeights(nn.Module):
    """W* with what it says about each batch.

    ``literal``: the weights as the formula has them, with gradient to W* and to the routers. With U[m, z] the mean
    routing by objective, none exceeds sum_z U[m, z], which is at most 1; their sum over objectives lies between
    sum_z min_m U[m, z] and sum_z max_m U[m, z]. It is sum_z U[m, z] where all objectives use the experts alike, and as
    many as there are objectives where each has an expert of its own. Lowering the weight of the hardest objective
    lowers the loss.

    ``balanced`` (our decision): routing and weights are constants for the loss, so that none of it can be avoided; the
    weights are divided by their mean over the n objectives of the batch, so that they sum to n, then clamped to
    ``LIMITS``, which with up to three objectives adds at most 0.5 to the sum and takes nothing from it. W* learns which
    objectives an expert serves: the cross entropy of p against the routing, - mean over m of sum_z U[m, z] log p[z, m].
    It is convex, and at its minimum p[z, m] is the share of objective m in the use of expert z, each objective counted
    the same however many samples it has.

    ``sparsity`` weighs the mean entropy of p (MOON2.0), from step ``sparsity_start`` on (our decision). With
    ``chances``, queries were drawn by their objectives' weights, and count by the weight over its chance alone.
    """

    _last: Tensor

    def __init__(
        self,
        experts: int,
        objectives: int,
        weighing: Weighing,
        sparsity: float = 0.0,
        sparsity_start: int = 0,
        chances: ViewChances | None = None,
    ) -> None:
        super().__init__()
        self.trains_routers = weighing == "literal"
        self.sparsity, self.sparsity_start, self.chances = sparsity, sparsity_start, chances
        self.matrix = nn.Parameter(torch.zeros(experts, objectives))
        self._forget()

    def forward(self, routing: Tensor, objectives: Tensor, matrix: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Weights of this rank's samples (N,), and what trains W* besides, a scalar.

        From the routing of the samples (N, experts), with gradient only where literal, and their objectives (N,).
        ``matrix`` is W*, or what stands for it; ``step`` counts from 0.
        """
        use, samples = self.use(routing, objectives)
        weights = self.weights(use, samples, matrix)
        self._last = weights.detach().where(samples > 0, torch.nan)
        if self.chances is not None:
            weights = weights / self.chances.of_step(step).to(weights)
            self.chances.add(step, self._last)
        return weights[objectives], self.penalty(use, samples, matrix, step)

    def use(self, routing: Tensor, objectives: Tensor) -> tuple[Tensor, Tensor]:
        """Mean routing by objective (objectives, experts) over the samples of all ranks, and their number by objective.

        From the routing of this rank's samples (N, experts) and their objectives (N,). An objective without samples
        uses nothing. Balanced, the free experts of a sample share 1, whatever its reserved ones take.
        """
        if not self.trains_routers:
            routing = functional.normalize(routing, p=1, dim=1)
        total, samples = expert_use(routing, objectives, self.matrix.shape[1])
        if get_world_size() > 1:
            total, samples = collectives.all_reduce(total), samples.clone()
            torch.distributed.all_reduce(samples)
        return total / samples.clamp(min=1)[:, None], samples

    def weights(self, use: Tensor, samples: Tensor, matrix: Tensor) -> Tensor:
        """Weight of each objective, (objectives,); balanced, 0 for one without samples."""
        weights = (matrix.softmax(dim=1).T * use).sum(dim=1)
        if self.trains_routers:
            return weights
        present = samples > 0
        mean = weights[present].mean()
        return (weights / mean).clamp(*LIMITS).where(present, 0.0).detach()

    def penalty(self, use: Tensor, samples: Tensor, matrix: Tensor, step: int) -> Tensor:
        """Sparsity and, where balanced, the cross entropy that W* learns by."""
        log_p = matrix.log_softmax(dim=1)
        penalty = matrix.new_zeros(())
        if not self.trains_routers:
            penalty = penalty - (use * log_p.T).sum() / (samples > 0).sum()
        if step >= self.sparsity_start:
            penalty = penalty + self.sparsity * entropy(log_p)
        return penalty

    @torch.no_grad()
    def read(self) -> tuple[Tensor, Tensor]:
        """Last weights (objectives,), NaN for one without samples, and p (experts, objectives). Starts anew."""
        found = self._last, self.matrix.softmax(dim=1)
        self._forget()
        return found

    def _forget(self) -> None:
        self._last = torch.full((self.matrix.shape[1],), torch.nan)


def entropy(log_p: Tensor) -> Tensor:
    """Mean over experts of the entropy of their objectives, in nats, from log p (experts, objectives)."""
    return -(log_p.exp() * log_p).sum(dim=1).mean()
