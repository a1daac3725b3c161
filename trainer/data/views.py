"""What of a picture the model is shown: all of it, its core product, or a variant of either, always the same ones.

A picture has a fixed, small number of variants (our decision), so that features of a frozen tower can be kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL.Image import Image

from app.moon.crops import cropped, usable_box
from app.schema import Box
from trainer.data.camera import photographed
from trainer.data.pictures import shown_box
from trainer.data.record import Picture
from trainer.data.scenes import cut_out, empty_room, placed

VARIANTS = 2
"""Frames, and loose crops, of one picture."""

Cut = Literal["whole", "core", "frame", "loose"]
AUGMENTED: tuple[Cut, ...] = ("frame", "loose")
"""Cuts that are not served as they are, and are taken by another camera too."""

Read = Callable[[str], Image]
"""Reads a picture by its location, as :class:`~trainer.data.pictures.PictureStore` does."""


@dataclass(frozen=True, slots=True)
class View:
    """A picture, or a cut of it; ``box`` is its core product in pixels of the whole picture.

    ``core`` is the box as it is cropped everywhere, padded, ``loose`` a crop
    that misses the box as a detector would, ``frame`` a smaller photo of the same scene that holds the box. A box that
    is no use (see :func:`~app.moon.crops.usable_box`) leaves the whole picture.

    With a ``room``, the photo of something else, the picture is a packshot and its product is shown in that room: a
    scene (see :mod:`trainer.data.scenes`), whose box is known by itself. A packshot that cannot be cut out stays.
    """

    location: str
    box: Box | None = None
    cut: Cut = "whole"
    variant: int = 0
    room: Picture | None = None

    def show(self, read: Read) -> Image:
        """What the model sees. Raises BadInputError for a picture that cannot be read."""
        image, box = self.taken(read)
        part = self.part(image, box)
        return image if part is None else part

    def taken(self, read: Read) -> tuple[Image, Box | None]:
        """The whole picture or scene, and its core product's box in its pixels."""
        image = read(self.location)
        if self.room is None:
            return image, self.box and shown_box(self.box, image)
        if (product := cut_out(image)) is None:
            return image, None
        room = read(self.room.location)
        if self.room.box is not None:
            room = empty_room(room, shown_box(self.room.box, room))
        rng = self._rng("scene")
        scene, box = placed(product, room, rng)
        return photographed(scene, rng), box

    def part(self, image: Image, box: Box | None) -> Image | None:
        """The part of what was :meth:`taken` that is shown; None for all of it."""
        crop = self.crop(image, box)
        if crop is None:
            return None
        part = cropped(image, crop)
        if self.cut in AUGMENTED and self.room is None:
            return photographed(part, self._rng(f"{self.cut} camera"))
        return part

    def crop(self, image: Image, box: Box | None) -> Box | None:
        """Where that part is, in pixels of the picture; None for all of it."""
        if box is None or self.cut == "whole":
            return None
        width, height = image.size
        core = usable_box(box, width, height)
        if core is None or self.cut == "core":
            return core
        box = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))
        return (loose_crop if self.cut == "loose" else reframed)(box, width, height, self._rng(self.cut))

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.location}:{purpose}:{self.variant}")  # noqa: S311


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
