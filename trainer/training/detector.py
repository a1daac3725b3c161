"""Train the starter's box head on the core product boxes of training pictures, from kept feature maps of the tower."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from app.errors import BadInputError
from app.moon.boxes import BoxHead, box_loss, iou
from app.schema import Box
from trainer.data.corpus import Corpus
from trainer.data.record import Picture
from trainer.data.views import VARIANTS, Read, View
from trainer.training.features import TowerMaps
from trainer.training.presets import Stage

logger = logging.getLogger(__name__)

Target = tuple[View, Box]
"""A view and its core product's box in the view's own coordinates, 0..1."""


def boxed_pictures(corpus: Corpus, rows: NDArray) -> list[Picture]:
    """Distinct query pictures of records that come with a box, in the records' order."""
    found = (corpus.record(row).picture for row in rows)
    return list(dict.fromkeys(picture for picture in found if picture is not None and picture.box is not None))


def targets_of(pictures: Sequence[Picture], read: Read, *, frames: bool, scenes: Iterable[View] = ()) -> list[Target]:
    """Whole pictures, their frames if asked for, and scenes; what cannot be read is left out with a warning."""
    found: list[Target] = []
    for picture in pictures:
        views = [View(picture.location, picture.box)]
        if frames:
            views += [View(picture.location, picture.box, "frame", variant) for variant in range(VARIANTS)]
        found += _targets(views, read)
    for scene in scenes:
        found += _targets([scene], read)
    return found


def _targets(views: Sequence[View], read: Read) -> list[Target]:
    """Views of one picture with their box."""
    found: list[Target] = []
    try:
        image, box = views[0].taken(read)
    except BadInputError as error:
        logger.warning("no box is learned from it: %s", error)
        return []
    if box is None:
        return []
    for view in views:
        x0, y0, x1, y1 = view.crop(image, box) or (0.0, 0.0, float(image.width), float(image.height))
        sides = (
            (box[0] - x0) / (x1 - x0),
            (box[1] - y0) / (y1 - y0),
            (box[2] - x0) / (x1 - x0),
            (box[3] - y0) / (y1 - y0),
        )
        shown = replace(view, box=None) if view.cut == "whole" else view
        found.append((shown, tuple(min(max(side, 0.0), 1.0) for side in sides)))  # type: ignore[arg-type]
    return found


def fit_box_head(
    head: BoxHead, maps: TowerMaps, train: Sequence[Target], dev: Sequence[Target], stage: Stage, seed: int
) -> float:
    """Train ``head`` in place, pictures mirrored half of the time; returns the mean IoU on ``dev``, or NaN."""
    rng = random.Random(seed)  # noqa: S311
    steps = stage.steps or 0
    optimizer = torch.optim.AdamW(head.parameters(), lr=stage.lr, weight_decay=0.05)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    head.requires_grad_(True).train()
    for step in range(steps):
        chosen = rng.sample(train, min(stage.batch, len(train)))
        features, boxes = maps([view for view, _ in chosen]), torch.tensor([box for _, box in chosen])
        mirrored = torch.rand(len(chosen)) < 0.5
        features = torch.where(mirrored[:, None, None, None], features.flip(3), features)
        boxes = torch.where(mirrored[:, None], _mirror(boxes), boxes)
        features = torch.nn.functional.dropout2d(features, 0.1)
        loss = box_loss(head(features), boxes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            logger.info("box head step %d: loss %.3f, dev IoU %.3f", step, loss.item(), mean_iou(head, maps, dev))
    head.eval()
    return mean_iou(head, maps, dev)


@torch.inference_mode()
def mean_iou(head: BoxHead, maps: TowerMaps, targets: Sequence[Target]) -> float:
    """Mean intersection over union with the true boxes; NaN without any."""
    if not targets:
        return float("nan")
    training = head.training
    head.eval()
    parts = [targets[start : start + 64] for start in range(0, len(targets), 64)]
    found = torch.cat([head(maps([view for view, _ in part])) for part in parts])
    head.train(training)
    return iou(found, torch.tensor([box for _, box in targets])).mean().item()


def _mirror(boxes: Tensor) -> Tensor:
    return torch.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], dim=1)
