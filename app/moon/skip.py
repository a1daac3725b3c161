"""The way around the LLM, and what each part of an input counts (our decisions, for small LLMs)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

VISUAL, TITLE, SEGMENTS = 0, 1, 4
"""Places among :meth:`app.moon.segments.Markers.parts`, and their number."""
MEANING = 0.35
"""Share of a picture's vector in the LLM's dimensions; chosen on development queries, like LABELLED_PICTURES."""
LABELLED_PICTURES = 1.8
"""Logarithm of what pictures count at first beside a category or attributes."""
DIRECTIONS = 32
"""Directions of looks along which words change a picture."""


class Skip(nn.Module):
    """A path around the LLM: ``path + gate * standardised LLM output`` (our decision).

    The path of a token is ``linear(input embedding)``; where the tower gives statistics, that of a picture's tokens is
    what :class:`PicturePath` makes of them, and the vectors get ``picture_dims`` more dimensions than the LLM has. It
    starts as the identity with the gate closed. Pooled, it is a bag of words and pictures, which keeps what the vision
    tower and the words knew while a small LLM learns what to add. The output is standardised per channel by ``centre``
    and ``spread``, which a trainer measures: raw, a few huge channels that all tokens share drown the rest.
    """

    def __init__(self, width: int, statistics: int = 0, picture_dims: int = 0, picture_dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        self.gate = nn.Parameter(torch.zeros(width))
        self.centre = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.spread = nn.Parameter(torch.ones(width), requires_grad=False)
        self.pictures = PicturePath(statistics, width, picture_dims, picture_dropout) if picture_dims else None
        nn.init.eye_(self.linear.weight)

    def forward(self, embedded: Tensor, output: Tensor, parts: Tensor, statistics: Tensor | None = None) -> Tensor:
        """The LLM's input embeddings and its output, both (batch, tokens, width), to (batch, tokens, width + dims).

        ``parts`` (batch, tokens, 4) are those of :meth:`~app.moon.segments.Markers.parts`, ``statistics``
        (pictures, channels) those of the batch's pictures in their order.
        """
        beyond = 0, self.pictures.picture_dims if self.pictures is not None else 0
        path = pad(self.linear(embedded), beyond)
        if self.pictures is not None and statistics is not None:
            path = self._with_pictures(path, parts, statistics)
        if not (self.gate.requires_grad or self.gate.any()):
            return path
        return path + pad(self.gate * (output - self.centre) / self.spread, beyond)

    def _with_pictures(self, path: Tensor, parts: Tensor, statistics: Tensor) -> Tensor:
        visual, title = parts[..., VISUAL], parts[..., TITLE, None].to(path.dtype)
        wish = ~parts[..., TITLE + 1 :].any(dim=-1).any(dim=-1, keepdim=True)
        words = wish * normalize((path * title).sum(dim=1), dim=1)
        rows = visual.nonzero()[:, 0]
        per_picture = len(rows) // len(statistics)
        seen = self.pictures(statistics, words[rows[::per_picture], : self.gate.shape[0]])  # type: ignore[misc]
        return path.masked_scatter(visual.unsqueeze(-1), seen.to(path.dtype).repeat_interleave(per_picture, dim=0))


class PicturePath(nn.Module):
    """From a tower's statistics of a picture to its part of the vector, in the light of a shopper's words beside it.

    How a thing looks has ``picture_dims`` dimensions of its own, the last ones; what it means is read from its looks
    and stands in the LLM's, where words do. Each side has a fixed share of the vector's length: free to choose, a model
    fitted to few products lets meaning guessed from pictures drown both the looks and the words.

    Words change looks: "the same in blue" takes what it means of the photo's own colour away along learned
    ``directions``, and adds the looks of blue. Words beside category or attributes are a product's own and change
    nothing. ``centre`` and ``spread`` standardise the statistics and are measured by a trainer.
    """

    def __init__(self, statistics: int, width: int, picture_dims: int, dropout: float) -> None:
        super().__init__()
        self.picture_dims = picture_dims
        self.dropout = nn.Dropout(dropout)
        self.centre = nn.Parameter(torch.zeros(statistics), requires_grad=False)
        self.spread = nn.Parameter(torch.ones(statistics), requires_grad=False)
        self.looks = nn.Linear(statistics, picture_dims, bias=False)
        self.meaning = nn.Linear(picture_dims, width, bias=False)
        self.directions = nn.Linear(picture_dims, DIRECTIONS, bias=False)
        self.strength = nn.Linear(width, DIRECTIONS, bias=False)
        self.shift = nn.Linear(width, picture_dims, bias=False)
        nn.init.normal_(self.directions.weight, std=picture_dims**-0.5)
        nn.init.zeros_(self.strength.weight)
        nn.init.zeros_(self.shift.weight)

    def seen(self, statistics: Tensor) -> Tensor:
        """Statistics (pictures, channels) to looks (pictures, picture_dims) of unit length, before any words."""
        return normalize(self.looks(self.dropout((statistics - self.centre) / self.spread)), dim=1)

    def forward(self, statistics: Tensor, words: Tensor) -> Tensor:
        """Statistics (pictures, channels) and unit vectors of words (pictures, width) to (pictures, width + dims).

        Without words, vectors of zeros, looks stay as they are.
        """
        looks = self.seen(statistics)
        along = self.strength(words) * self.directions(looks)
        looks = looks + along @ self.directions.weight + self.shift(words)
        shares = (MEANING, self.meaning(looks)), (math.sqrt(1 - MEANING**2), looks)
        return torch.cat([share * normalize(part, dim=1) for share, part in shares], dim=1)


class SegmentWeights(nn.Module):
    """How much pictures, title, category and attributes count in the pooled vector, however long each is.

    Each segment's mean is brought to unit length before the weights join them, so that a product's title answers a
    query beside pictures as well as without: no part drowns another by the length of its vectors. The weights depend on
    which segments are there: pictures count more in a full product than beside the few words of a query.

    Where pictures have ``looks``, so many dimensions of their own, meaning and looks share the length of a vector of
    pictures and words evenly. Without that, products whose segments say the same come nearer to every word than those
    whose segments complement each other.
    """

    def __init__(self, looks: int = 0) -> None:
        super().__init__()
        self.looks = looks
        labelled = torch.arange(2**SEGMENTS) >= 2 ** (TITLE + 1)
        weights = torch.tensor([[1.0, 1.0, 0.5, 0.3]]).repeat(len(labelled), 1)
        weights[labelled, VISUAL] = LABELLED_PICTURES
        self.log_weights = nn.Parameter(weights)

    def forward(self, tokens: Tensor, parts: Tensor) -> Tensor:
        """Vectors (batch, tokens, width) and :meth:`Markers.parts` (batch, tokens, 4) to vectors of the same shape.

        The mean of a row's content tokens is the weighted sum of its segments' unit vectors, with its length shared as
        described; a row without content stays as it is.
        """
        present = parts.to(tokens.dtype)
        counts = present.sum(dim=1)
        means = torch.einsum("btp,btw->bpw", present, tokens) / counts.clamp(min=1).unsqueeze(-1)
        found = ((counts > 0) * 2 ** torch.arange(SEGMENTS, device=parts.device)).sum(dim=1)
        share = self.log_weights.exp()[found] / means.norm(dim=-1).clamp(min=1e-6)
        content = parts.any(dim=-1).sum(dim=1)
        weights = torch.einsum("btp,bp->bt", present, share / counts.clamp(min=1)) * content.unsqueeze(-1)
        tokens = tokens * torch.where(content.unsqueeze(-1) > 0, weights, 1.0).unsqueeze(-1)
        return tokens * self._shares(torch.einsum("bp,bpw->bw", share, means), counts).unsqueeze(1)

    def _shares(self, pooled: Tensor, counts: Tensor) -> Tensor:
        """Factors (batch, 1 or width) that bring meaning and looks of pooled vectors (batch, width) to equal length."""
        if not self.looks:
            return torch.ones_like(pooled[:, :1])
        together = (counts[:, VISUAL, None] > 0) & (counts[:, TITLE:].sum(dim=1, keepdim=True) > 0)
        parts = pooled[:, : -self.looks], pooled[:, -self.looks :]
        factors = [
            torch.where(together, 1 / part.norm(dim=1, keepdim=True).clamp(min=1e-6), 1.0).expand_as(part)
            for part in parts
        ]
        return torch.cat(factors, dim=1)
