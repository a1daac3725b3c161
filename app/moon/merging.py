"""Fewer visual tokens for the LLM: those that are alike are merged, without training (our decision).

The bipartite matching of "Token Merging" (Bolya et al. 2023, arXiv 2210.09461), between the projector and the LLM. In
each round every second token looks for the nearest of the others, and the nearest pairs become one, their mean, at the
place of the latter. Nearest is what adds least to the spread within what was merged (Ward 1963), for directions x and
their means m:

    cost(A, B) = |A| |B| / (|A| + |B|) * |m_A - m_B|^2,   m_A = mean over A of x / |x|

A round merges few: a token whose like is in the same half can wait for the next round. The pictures of an input are
merged together: a crop repeats its picture. After the LLM every token has the output of the one that stands for it, so
that pooling weighs each by how many it stands for, and nothing else sees a shorter sequence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.moon.segments import TokenType

AT_ONCE = 1 / 4
"""Share of the tokens that look for a partner which one round merges at most."""


def stand_ins(tokens: Tensor, count: int) -> Tensor:
    """Merges ``tokens`` (tokens, width) into ``count``: for each the place of the one that stands for it, (tokens,).

    Stand-ins stand for themselves.

    >>> stand_ins(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]), 2).tolist()
    [1, 1, 3, 3]
    """
    points = normalize(tokens.float(), dim=1)
    places = torch.arange(len(points), device=points.device)
    chosen = left = places
    while len(left) > count:
        cost, nearest = _costs(points, chosen, left).min(dim=1)
        closest = cost.argsort(stable=True)[: min(len(left) - count, math.ceil(AT_ONCE * len(cost)))]
        into = places.clone()
        into[left[::2][closest]] = left[1::2][nearest[closest]]
        chosen = into[chosen]
        left = chosen.unique()
    return chosen


def _costs(points: Tensor, chosen: Tensor, left: Tensor) -> Tensor:
    """Ward's cost of merging every second of the groups ``left`` with each of the others."""
    sizes = torch.bincount(chosen, minlength=len(points))[left].float()
    means = torch.zeros_like(points).index_add_(0, chosen, points)[left] / sizes.unsqueeze(1)
    return torch.cdist(means[::2], means[1::2]).square() / (1 / sizes[::2, None] + 1 / sizes[1::2])


@dataclass(frozen=True)
class Merging:
    """Which tokens of a batch go through the decoder, and which of them stands for each.

    ``places`` (batch, shorter) are those of the tokens that go, in their order; rows with fewer have padding at their
    end, where ``real`` (batch, shorter) is False. ``columns`` (batch, tokens) say where in ``places`` the token is that
    stands for each; ``counted`` (batch, tokens) is False for padding, which goes nowhere.
    """

    places: Tensor
    real: Tensor
    columns: Tensor
    counted: Tensor

    @classmethod
    def of(cls, embedded: Tensor, visual: Tensor, counted: Tensor, share: float) -> Merging:
        """For input embeddings (batch, tokens, width): each row keeps ``share`` of its ``visual`` tokens, rounded up.

        ``visual`` and ``counted`` (batch, tokens) are masks of the pictures' tokens and of all but padding.
        """
        chosen = torch.arange(visual.shape[1], device=visual.device).repeat(len(visual), 1)
        for row in visual.any(dim=1).nonzero().flatten().tolist():
            own = visual[row].nonzero().squeeze(1)
            chosen[row, own] = own[stand_ins(embedded[row, own], math.ceil(share * len(own)))]
        left = (chosen == torch.arange(visual.shape[1], device=visual.device)) & counted
        counts = left.sum(dim=1, keepdim=True)
        places = left.int().argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
        real = torch.arange(places.shape[1], device=visual.device) < counts
        return cls(places, real, (left.cumsum(dim=1) - 1).clamp(min=0).gather(1, chosen), counted)

    def shorten(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A decoder's keyword arguments for the shorter sequence; what is left keeps its position in the whole one.

        Also DeepStack's features, which Qwen3-VL adds to the visual tokens in its first layers, are merged.
        """
        shorter = {
            "inputs_embeds": self._merged(inputs["inputs_embeds"]),
            "attention_mask": self.real.long(),
            "position_ids": self._positions(inputs.get("position_ids")),
            "token_types": inputs["token_types"].gather(1, self.places).masked_fill(~self.real, TokenType.PADDING),
        }
        if (deep := inputs.get("deepstack_visual_embeds")) is not None:
            visual = inputs["visual_pos_masks"]
            seen = visual.gather(1, self.places) & self.real
            shorter["visual_pos_masks"] = seen
            shorter["deepstack_visual_embeds"] = [self._merged(_spread(values, visual))[seen] for values in deep]
        return inputs | shorter

    def restore(self, output: Tensor) -> Tensor:
        """The decoder's output (batch, shorter, width) to (batch, tokens, width): each has that of its stand-in."""
        return output.gather(1, self.columns.unsqueeze(-1).expand(-1, -1, output.shape[-1]))

    def _merged(self, values: Tensor) -> Tensor:
        """Means of ``values`` (batch, tokens, width) over those that each stands for, (batch, shorter, width)."""
        parts = values.float() * self.counted.unsqueeze(-1)
        sums = parts.new_zeros(*self.places.shape, parts.shape[-1])
        sums.scatter_add_(1, self.columns.unsqueeze(-1).expand_as(parts), parts)
        sizes = torch.zeros_like(self.places).scatter_add_(1, self.columns, self.counted.long()).clamp(min=1)
        return (sums / sizes.unsqueeze(-1)).to(values.dtype)

    def _positions(self, positions: Tensor | None) -> Tensor:
        """Rotary positions (..., batch, tokens) of the whole sequence, or where each token stands, for ``places``."""
        if positions is None:
            return self.places
        leading = positions.shape[:-2]
        return positions.expand(*leading, len(self.places), -1).gather(-1, self.places.expand(*leading, -1, -1))


def _spread(values: Tensor, visual: Tensor) -> Tensor:
    """Rows of ``values`` (visual tokens, width) at their places in the batch, (batch, tokens, width)."""
    return values.new_zeros(*visual.shape, values.shape[-1]).masked_scatter(visual.unsqueeze(-1), values)
