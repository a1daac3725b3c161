"""Teach the starter's word embeddings what texts mean, before it sees a picture.

Multilingual knowledge distillation (Reimers & Gurevych 2020) of word embeddings alone: the mean embedding of a text in
any language, through the skip path, is to be the teacher's vector of its English equivalent (our decision). Words end
in the first dimensions of the model's vector, as many as the teacher has, and leave the others to pictures.
"""

from __future__ import annotations

import logging
from itertools import accumulate
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from app.errors import ModelError
from app.moon.transformer import MoonTransformer
from trainer.words.build import PAIRS, VECTORS

logger = logging.getLogger(__name__)

STEPS, BATCH = 800, 2048
EMBEDDING_LR, LINEAR_LR = 5e-3, 1e-3
TEMPERATURE = 0.05
LIKENESS = 3.0
"""What the distance to the teacher's vector counts beside telling the texts of a batch apart."""


class Lessons:
    """Pairs of a folder that ``trainer words`` wrote, as token ids, and their teacher's vectors."""

    def __init__(self, module: MoonTransformer, folder: Path, seed: int) -> None:
        pairs = pl.read_parquet(folder / PAIRS)
        self._rows: NDArray[np.int64] = pairs["row"].to_numpy().astype(np.int64)
        self._vectors = functional.normalize(load_file(folder / VECTORS)["vectors"].float(), dim=1)
        self._tokens = module.words(pairs["text"].to_list(), add_special_tokens=False)["input_ids"]
        weights = pairs["weight"].to_numpy() * np.array([bool(tokens) for tokens in self._tokens])
        self._heights = np.cumsum(weights)
        self._rng = np.random.default_rng(seed)

    @property
    def width(self) -> int:
        return self._vectors.shape[1]

    def draw(self, size: int) -> tuple[list[list[int]], Tensor, Tensor]:
        """Token ids of at most ``size`` distinct pairs, their teacher's rows (n,), and its vectors (n, width)."""
        drawn = np.searchsorted(self._heights, self._rng.random(size) * self._heights[-1], side="right")
        chosen = np.unique(drawn)
        rows = torch.from_numpy(self._rows[chosen])
        return [self._tokens[place] for place in chosen], rows, self._vectors[rows]


def teach_words(module: MoonTransformer, folder: Path, *, steps: int = STEPS, seed: int = 0) -> float:
    """Train the input embeddings and the skip path's matrix in place; returns the last batch's mean cosine.

    Raises ModelError if the model's vectors are narrower than the teacher's.
    """
    torch.manual_seed(seed)
    lessons = Lessons(module, folder, seed)
    words, linear = module.model.get_input_embeddings(), module.model.moon_skip.linear
    if linear.out_features < lessons.width:
        raise ModelError(f"vectors of {linear.out_features} numbers cannot hold the teacher's {lessons.width}")
    out = nn.Linear(linear.out_features, lessons.width, bias=False)
    groups = [
        {"params": list(words.parameters()), "lr": EMBEDDING_LR},
        {"params": [*linear.parameters(), *out.parameters()], "lr": LINEAR_LR},
    ]
    optimizer = torch.optim.Adam(groups)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    cosine = 0.0
    for step in range(steps):
        tokens, rows, wanted = lessons.draw(BATCH)
        given = functional.normalize(out(linear(_means(words.weight, tokens))), dim=1)
        loss, cosine = _distance(given, wanted, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        if step % 100 == 0 or step == steps - 1:
            logger.info("words step %d: loss %.3f, cosine to the teacher %.3f", step, loss.item(), cosine)
    with torch.no_grad():
        linear.weight.copy_(functional.pad(out.weight @ linear.weight, (0, 0, 0, linear.out_features - lessons.width)))
    return cosine


def _means(embeddings: Tensor, tokens: list[list[int]]) -> Tensor:
    """Mean embedding of each text, (texts, width)."""
    starts = [0, *accumulate(len(own) for own in tokens)][:-1]
    flat = torch.tensor([token for own in tokens for token in own])
    return functional.embedding_bag(flat, embeddings, torch.tensor(starts), mode="mean")


def _distance(given: Tensor, wanted: Tensor, rows: Tensor) -> tuple[Tensor, float]:
    """InfoNCE against the teacher's vectors of other texts, plus the distance to the own one; and the mean cosine."""
    cosines = (given * wanted).sum(dim=1)
    same = (rows[:, None] == rows) & ~torch.eye(len(rows), dtype=torch.bool)
    scores = (given @ wanted.T / TEMPERATURE).masked_fill(same, -torch.inf)
    contrast = functional.cross_entropy(scores, torch.arange(len(rows)))
    return contrast + LIKENESS * (1 - cosines).mean(), cosines.mean().item()
