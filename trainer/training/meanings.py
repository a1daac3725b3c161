"""Teach the skip path what products mean, from pictures alone: their category and attributes (our decision).

Pictures are to lie near the texts of their own labels, which stay where the words were taught. Labels are predicted by
likeness, so that every product of a catalog with categories is a lesson, whether anybody searched for it or not.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from app.moon.prompt import label_text
from app.moon.skip import PicturePath
from app.schema import category_levels
from trainer.data.record import Item

logger = logging.getLogger(__name__)

STEPS, BATCH, LR = 400, 512, 2e-3
TEMPERATURE, SMOOTHING, DROPOUT = 0.05, 0.1, 0.2
NONE = -100
"""The place of a label that an item does not have."""

EmbedTexts = Callable[[Sequence[str]], Tensor]
"""Marked texts to unit vectors (texts, width)."""


@dataclass(frozen=True)
class Labels:
    """Labels of one kind that exclude each other: vectors (labels, width), and each item's place among them."""

    vectors: Tensor
    places: Tensor


def labels_of(items: Sequence[Item], embed: EmbedTexts) -> list[Labels]:
    """Categories by level and the values of each attribute, the first of several; kinds of one label are left out."""
    own: dict[tuple[str, object], dict[int, str]] = defaultdict(dict)
    for row, item in enumerate(items):
        for level, path in enumerate(category_levels(list(item.category))):
            own["category", level][row] = label_text(path, "category")
        for key, values in item.attributes.items():
            if values:
                own["attribute", key][row] = label_text(f"{key}: {values[0]}", "attribute")
    found = []
    for texts in own.values():
        names = sorted(set(texts.values()))
        if len(names) > 1:
            places = [names.index(texts[row]) if row in texts else NONE for row in range(len(items))]
            found.append(Labels(embed(names), torch.tensor(places)))
    return found


def fit_meaning(path: PicturePath, statistics: Tensor, labels: Sequence[Labels], seed: int) -> float:
    """Train ``path.meaning`` in place, its looks kept; returns the share of labels found in the last batch.

    ``statistics`` (pictures, channels) belong to the pictures whose labels' places ``labels`` holds (pictures,).
    """
    if not labels:
        return float("nan")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        looks = path.eval().seen(statistics)
    optimizer = torch.optim.AdamW([path.meaning.weight], lr=LR, weight_decay=0.0)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    share = float("nan")
    for step in range(STEPS):
        rows = torch.randint(len(looks), (BATCH,), generator=generator)
        kept = torch.rand(BATCH, looks.shape[1], generator=generator) >= DROPOUT
        meaning = normalize(path.meaning(looks[rows] * kept), dim=1)
        losses, hits, asked = [], 0, 0
        for kind in labels:
            target = kind.places[rows]
            if not (known := target != NONE).any():
                continue
            scores = meaning[known] @ kind.vectors.T / TEMPERATURE
            losses.append(cross_entropy(scores, target[known], label_smoothing=SMOOTHING))
            hits += int((scores.argmax(dim=1) == target[known]).sum())
            asked += int(known.sum())
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        share = hits / asked
        if step % 100 == 0 or step == STEPS - 1:
            logger.info("meaning step %d: loss %.3f, found %.3f of the labels", step, loss.item(), share)
    return share
