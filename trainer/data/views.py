"""What of a picture the model is shown: all of it, its core product, or a variant of either, always the same ones.

A picture has a fixed, small number of variants (our decision), so that features of a frozen tower can be kept.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from PIL.Image import Image

from app.moon.boxes import usable_box
from app.schema import Box
from trainer.data.pictures import shown_box

VARIANTS = 2
"""Frames, and loose crops, of one picture."""

Cut = Literal["whole", "core", "frame", "loose"]


@dataclass(frozen=True, slots=True)
class View:
    """A picture, or a cut of it; ``box`` is its core product in pixels of the whole picture.

    ``core`` is the box as it is cropped everywhere, padded, ``loose`` a crop
    that misses the box as a detector would, ``frame`` a smaller photo of the same scene that holds the box. A box that
    is no use (see :func:`~app.moon.boxes.usable_box`) leaves the whole picture.
    """

    location: str
    box: Box | None = None
    cut: Cut = "whole"
    variant: int = 0

    def of(self, image: Image) -> Image:
        """The part of a picture, as :class:`~trainer.data.pictures.PictureStore` read it, that is shown."""
        crop = self.crop(image)
        if crop is None:
            return image
        x0, y0, x1, y1 = (round(side) for side in crop)
        return image.crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))

    def crop(self, image: Image) -> Box | None:
        """The part that is shown, in pixels of the picture as it was read; None for all of it."""
        if self.box is None or self.cut == "whole":
            return None
        box, (width, height) = shown_box(self.box, image), image.size
        core = usable_box(box, width, height)
        if core is None or self.cut == "core":
            return core
        box = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))
        rng = random.Random(f"{self.location}:{self.cut}:{self.variant}")  # noqa: S311
        return (loose_crop if self.cut == "loose" else reframed)(box, width, height, rng)


def loose_crop(box: Box, width: int, height: int, rng: random.Random) -> Box:
    """A crop that misses the box as a detector would: every side moved by -10 % to +30 % of the box."""
    w, h = box[2] - box[0], box[3] - box[1]
    left, top, right, bottom = (rng.uniform(-0.1, 0.3) for _ in range(4))
    return (
        max(0.0, box[0] - left * w),
        max(0.0, box[1] - top * h),
        min(float(width), box[2] + right * w),
        min(float(height), box[3] + bottom * h),
    )


def reframed(box: Box, width: int, height: int, rng: random.Random) -> Box:
    """A smaller photo of the same scene: a random square window, 55 % to 95 % of the side, that holds the box.

    A box that no square inside the picture can hold is cut at the window's edge.
    """
    side = max(rng.uniform(0.55, 0.95) * min(width, height), box[2] - box[0], box[3] - box[1])
    side = min(side, float(min(width, height)))
    x = _start(box[0], box[2], side, width, rng)
    y = _start(box[1], box[3], side, height, rng)
    return x, y, x + side, y + side


def _start(low: float, high: float, side: float, limit: int, rng: random.Random) -> float:
    """Where a window of ``side`` starts on one axis so that it holds low..high if it can, inside 0..limit."""
    first = max(0.0, min(high - side, limit - side))
    last = max(first, min(low, limit - side))
    return rng.uniform(first, last)
