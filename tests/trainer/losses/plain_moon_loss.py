"""MOON's loss once more, with loops over pairs in double precision, and what the tests of the loss share."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from app.moon.config import MoonConfig
from app.moon.experts import FullExperts
from trainer.losses.columns import ABSENT, ALSO_RIGHT

FEATURES, WIDTH, KEYS = 6, 8, 3
LIMIT = 0.25
"""m of Circle loss."""


class Tower(nn.Module):
    """Stands in for the model: features (rows, FEATURES) to embeddings (rows, WIDTH), not normalised."""

    def __init__(self, dtype: torch.dtype = torch.double) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.linear = nn.Linear(FEATURES, WIDTH, dtype=dtype)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.double))

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": torch.tanh(self.linear(features["input_ids"]))}


class RoutedTower(nn.Module):
    """Stands in for a model with a layer of three free experts: features to the mean of three tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.linear = nn.Linear(FEATURES, 3 * WIDTH)
        self.experts = FullExperts(MoonConfig(experts=5, top_k=2, balance=0.0), WIDTH, nn.Linear(WIDTH, WIDTH))
        nn.init.normal_(self.experts.router.weight)
        self.double()

    def hidden(self, features: dict[str, Tensor]) -> Tensor:
        return torch.tanh(self.linear(features["input_ids"])).unflatten(1, (3, WIDTH))

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": self.experts(self.hidden(features)).mean(dim=1)}

    def routing(self, features: dict[str, Tensor]) -> Tensor:
        """Mean over tokens of the weights of the free experts, (rows, 3)."""
        flat = self.hidden(features).flatten(0, 1)
        weights = self.experts.weigh(self.experts.router(flat), torch.zeros(len(flat)))
        return weights.unflatten(0, (-1, 3))[..., :3].mean(dim=1)


@dataclass
class Batch:
    """Columns of features (B, FEATURES) and labels (B, columns, KEYS), a few keys of which occur twice."""

    columns: list[Tensor]
    labels: Tensor

    @classmethod
    def random(cls, rows: int, seed: int, keys: int = 30) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        columns = [torch.randn(rows, FEATURES, generator=generator, dtype=torch.double) for _ in range(3)]
        return cls(columns, torch.randint(0, keys, (rows, 3, KEYS), generator=generator))

    @classmethod
    def of_views(cls, rows: int, seed: int, missing: int = ABSENT, keys: int = 30) -> Batch:
        """Three views of the query, positives, hard negatives, and products by pictures and by words.

        Of the views and the products some are ``missing``, but of no query all; some hard negatives answer a view too.
        """
        generator = torch.Generator().manual_seed(seed)
        columns = [torch.randn(rows, FEATURES, generator=generator, dtype=torch.double) for _ in range(7)]
        labels = torch.randint(0, keys, (rows, 6, KEYS), generator=generator)
        labels[:, :3, 1][torch.rand(rows, 3, generator=generator) < 0.3] = ALSO_RIGHT
        lacking = torch.rand(rows, 6, generator=generator) < 0.4
        lacking[torch.arange(rows), torch.randint(0, 3, (rows,), generator=generator)] = False
        lacking[:, 3:5] = False
        labels[lacking] = 0
        labels[:, :, 0][lacking] = missing
        return cls(columns, labels)

    def part(self, rank: int, rows: int) -> Batch:
        cut = slice(rank * rows, (rank + 1) * rows)
        return Batch([column[cut] for column in self.columns], self.labels[cut])

    def samples(self) -> Tensor:
        """Of up to three views: record, item of the negative and objective, told by the first key, (B, 3, 3)."""
        first = self.labels[:, :3, 0]
        return torch.stack([first, first + 1, first % 3], dim=2)

    def features(self) -> list[dict[str, Tensor]]:
        """Rows that have labels; a column without any is left out."""
        there = [
            self.labels[:, min(place, self.labels.shape[1] - 1), 0] != ABSENT for place in range(len(self.columns))
        ]
        return [{"input_ids": own[rows]} for own, rows in zip(self.columns, there, strict=True) if rows.any()]


@dataclass
class PlainLoss:
    """Reference of :class:`trainer.losses.moon.MoonLoss` in one process; ``past`` holds one list per batch."""

    objective: str = "infonce"
    margin: float | None = 0.1
    past_batches: int = 2
    dims: tuple[int, ...] = ()
    past: list[list[tuple[Tensor, set[int]]]] = field(default_factory=list)
    negatives: float = 0.0
    masked: float = 0.0

    def __call__(self, embedded: list[Tensor], labels: Tensor, temperature: Tensor) -> Tensor:
        queries, positives, hard = embedded
        keys = [[set(row.tolist()) - {0} for row in column] for column in labels.transpose(0, 1)]
        batch = len(queries)
        documents = [*zip(positives, keys[1], strict=True), *zip(hard, keys[2], strict=True)]
        pool = documents + [document for old in self.past for document in old]
        losses, kept_counts, masked_counts = [], [], []
        for i in range(batch):
            positive = cosine(queries[i], positives[i])
            kept = []
            for j, (vector, theirs) in enumerate(pool):
                too_close = self.margin is not None and cosine(queries[i], vector) > positive + self.margin
                if j == batch + i or (j != i and not too_close and not keys[0][i] & theirs):
                    kept.append(vector)
            kept_counts.append(len(kept))
            masked_counts.append(len(pool) - 1 - len(kept))
            for width in (queries.shape[1], *self.dims):
                similarity = [cosine(queries[i][:width], vector[:width]) for vector in kept]
                losses.append(self._one(cosine(queries[i][:width], positives[i][:width]), similarity, temperature))
        self.negatives, self.masked = sum(kept_counts) / batch, sum(masked_counts) / batch
        self.past.append([(vector.detach(), theirs) for vector, theirs in documents])
        del self.past[: -self.past_batches or None]
        return torch.stack(losses).mean()

    def _one(self, positive: Tensor, negatives: list[Tensor], temperature: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.double)
        if self.objective == "infonce":
            for negative in negatives:
                total = total + torch.exp(negative / temperature)
            return -torch.log(torch.exp(positive / temperature) / (torch.exp(positive / temperature) + total))
        for negative in negatives:
            weight = max(negative.item() + LIMIT, 0)
            total = total + torch.exp(weight * (negative - LIMIT) / temperature)
        weight = max(1 + LIMIT - positive.item(), 0)
        return torch.log(1 + total * torch.exp(-weight * (positive - (1 - LIMIT)) / temperature))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """By name without a wrapper's prefix; zeros where there is none."""
    return {
        name.removeprefix("module."): torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }
