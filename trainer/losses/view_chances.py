"""How likely each way of asking is drawn where a triplet is asked in one of them (MOON2.0: views by their weight)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMITS = (0.5, 2.0)
"""Of weights over their mean (our decision), so that no way of asking is forgotten."""
NEWEST = 0.1
"""Weight of the last step in the running means (our decision)."""


class ViewChances(nn.Module):
    """Chances of objectives: running means of their weights, each over the mean of its step and within ``LIMITS``.

    Batches are read ahead of the step that learns from them. So a step draws by what was known ``delay`` steps before,
    evenly at first, and the same draws come whether the reader is fast or slow; what is behind stands in the state
    dict, so that a resumed run goes on alike (our decisions). Reading processes share the memory of the means.
    """

    def __init__(self, steps: int, objectives: int, draws: int, delay: int) -> None:
        """``draws``: how many triplets all ranks draw in a step; ``delay``: how many steps a reader may be ahead."""
        super().__init__()
        self.draws, self.delay = draws, delay
        self._means = torch.ones(steps, objectives).share_memory_()

    def of_step(self, step: int) -> Tensor:
        """By what step ``step`` (from 0) draws, up to a factor, (objectives,)."""
        known = step - self.delay
        return self._means[known].clone() if known >= 0 else torch.ones(self._means.shape[1])

    def of_draw(self, number: int) -> list[float]:
        """By what triplet ``number`` of the run is asked."""
        return self.of_step(number // self.draws).tolist()

    def add(self, step: int, weights: Tensor) -> None:
        """What step ``step`` weighed (objectives,), NaN for an objective without samples; the steps come in order."""
        before = self._means[step - 1] if step else torch.ones_like(self._means[0])
        own = (weights / weights.nanmean()).clamp(*LIMITS).cpu()
        self._means[step] = torch.where(own.isnan(), before, (1 - NEWEST) * before + NEWEST * own)

    def get_extra_state(self) -> Tensor:
        """The running means of all steps, as a tensor, which every checkpoint format can hold."""
        return self._means.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """Raises ValueError for the state of another number of steps."""
        if state.shape != self._means.shape:
            raise ValueError(f"weights of {len(state)} steps, and the run has {len(self._means)}")
        self._means.copy_(state)
