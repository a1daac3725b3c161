"""Train the starter's box head on the boxes of the training photos, from cached feature maps of the frozen tower."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from app.moon.boxes import BoxHead, box_loss, iou
from app.schema import Box
from trainer.data.home import PHOTO_SIZE, HomeSet, Photo
from trainer.data.views import TowerMaps, View

logger = logging.getLogger(__name__)


def fit_box_head(head: BoxHead, home: HomeSet, maps: TowerMaps, steps: int, seed: int, batch_size: int = 64) -> float:
    """Train ``head`` in place on whole and reframed photos, mirrored half of the time; returns the mean IoU on dev."""
    rng = random.Random(seed)  # noqa: S311
    photos = [photo for photo in home.photos if photo.split == "train" and not photo.shows_test_model]
    targets = [(view, _relative(photo.box, view)) for photo in photos for view in (photo.whole, *photo.variants()[0])]
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    head.train()
    for step in range(steps):
        chosen = rng.sample(targets, min(batch_size, len(targets)))
        features, boxes = maps[[view for view, _ in chosen]], torch.tensor([box for _, box in chosen])
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
            logger.info(
                "box head step %d: loss %.3f, dev IoU %.3f", step, loss.item(), mean_iou(head, home, maps, "dev")
            )
    return mean_iou(head, home, maps, "dev")


@torch.inference_mode()
def mean_iou(head: BoxHead, home: HomeSet, maps: TowerMaps, split: str) -> float:
    """Mean intersection over union with the true boxes of whole photos of a split."""
    photos: Sequence[Photo] = [
        p for p in home.photos if p.split == split and (split == "test" or not p.shows_test_model)
    ]
    head.eval()
    found = torch.cat([head(maps[[p.whole for p in photos[i : i + 64]]]) for i in range(0, len(photos), 64)])
    head.train()
    return iou(found, torch.tensor([_relative(p.box, p.whole) for p in photos])).mean().item()


def _relative(box: Box, view: View) -> Box:
    """The box in the view's own coordinates, 0..1."""
    x0, y0, x1, y1 = view.crop or (0.0, 0.0, float(PHOTO_SIZE), float(PHOTO_SIZE))
    width, height = x1 - x0, y1 - y0
    sides = ((box[0] - x0) / width, (box[1] - y0) / height, (box[2] - x0) / width, (box[3] - y0) / height)
    return tuple(min(max(side, 0.0), 1.0) for side in sides)  # type: ignore[return-value]


def _mirror(boxes: Tensor) -> Tensor:
    return torch.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], dim=1)
