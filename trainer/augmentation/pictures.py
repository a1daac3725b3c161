"""Expanded pictures of a product without a generator: its crop, other grounds, rooms, views and light (our decision).

Nothing here may change what the record says of the product: colours move less than from one named colour to the next,
products whose words name a side are not mirrored, and a picture that cannot be cut out well is left as it is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image as Pictures
from PIL import ImageChops, ImageFilter, ImageOps
from PIL.Image import Image, Resampling

from app.moon.crops import cropped, usable_box
from app.schema import Box
from trainer.augmentation.config import PictureKind
from trainer.data.camera import brighter, warmer
from trainer.data.pictures import shown_box
from trainer.data.record import Item, Picture
from trainer.data.scenes import SIDE, WHITE, Cutout, cut_out, empty_room, placed
from trainer.data.views import Read, reframed

Colour = tuple[int, int, int]
GROUNDS: tuple[Colour, ...] = ((255, 255, 255), (238, 238, 238), (222, 222, 222), (240, 235, 226), (226, 232, 238))
"""Plain grounds: white and tones so faint that no product stands out less than before."""
OTHER_GROUND = 8
"""Levels by which a new ground differs from the old one in some channel."""
PLAIN_BORDER, PLAIN_RANGE = 0.97, 12
"""A plain ground: that share of the border lies within so many levels of its median."""
TURN, SCALE = (2.0, 8.0), (0.78, 0.88)
"""Degrees and share of the size; a turned picture still lies within its frame."""
WARMTH, BRIGHTNESS = 0.03, 0.06
"""Largest change of white balance and of light: white stays white, and light grey light grey."""
BRIGHT_SHARE = 0.99
"""A picture of which more than the rest would be lost in white is made darker, never lighter."""
FEATHER, BLUR = 0.03, 0.02
"""Softness of a box's edge, and of what stands behind it, in shares of the longer side."""
_SIDED = re.compile(
    r"\b(?:left|right|linke?[rsnm]?|rechte?[rsnm]?|gauche|droite?|izquierd[oa]|derech[oa]|sinistr[oa]|destr[oa])\b"
    r"|左|右",
    re.IGNORECASE,
)


class NotPossibleError(Exception):
    """A kind of picture that cannot be made of a product's pictures; the message says why."""


@dataclass(frozen=True)
class Made:
    """A picture made of another one, its core product's box in its pixels where that is known and of use, its room."""

    image: Image
    box: Box | None = None
    room: Picture | None = None


@dataclass
class Subject:
    """A picture with what is known of the product in it; ``box`` in its pixels, ``sided``: it must not be mirrored."""

    image: Image
    box: Box | None
    sided: bool

    @cached_property
    def ground(self) -> Colour | None:
        return plain_ground(self.image)

    @cached_property
    def cutout(self) -> Cutout | None:
        return cut_from_ground(self.image)

    @property
    def core(self) -> Box | None:
        """The box as it is cropped everywhere, padded; None if there is none of use."""
        return self.box and usable_box(self.box, *self.image.size)

    def mirrored(self, made: Made, rng: random.Random) -> Made:
        """Mirrored half of the time, if the product has no side in its words."""
        if self.sided or rng.random() < 0.5:
            return made
        box = made.box and (made.image.width - made.box[2], made.box[1], made.image.width - made.box[0], made.box[3])
        return Made(ImageOps.mirror(made.image), box)


class Studio:
    """Makes pictures of products; ``rooms`` are training photos that others may stand in."""

    def __init__(self, rooms: Sequence[Picture], read: Read) -> None:
        self._rooms, self._read = rooms, read
        self._kinds: Mapping[PictureKind, Callable[[Subject, random.Random], Made]] = {
            "crop": self._crop,
            "ground": self._ground,
            "scene": self._scene,
            "geometry": self._geometry,
            "light": self._light,
        }

    def make(self, kind: PictureKind, subject: Subject, rng: random.Random) -> Made:
        """One picture of a kind, the same for the same state of ``rng``. Raises NotPossibleError."""
        return self._kinds[kind](subject, rng)

    def _crop(self, subject: Subject, rng: random.Random) -> Made:
        """The core product alone: the part in its box, or what is cut out of a plain ground."""
        if subject.core is not None:
            return Made(cropped(subject.image, subject.core))
        cutout, image = _needed(subject.cutout), subject.image
        scale = image.width / cutout.mask.width, image.height / cutout.mask.height
        x0, y0, x1, y1 = _box_of(cutout)
        box = usable_box((x0 * scale[0], y0 * scale[1], x1 * scale[0], y1 * scale[1]), *image.size)
        if box is None:
            raise NotPossibleError("the product fills the picture already")
        return Made(cropped(image, box))

    def _ground(self, subject: Subject, rng: random.Random) -> Made:
        """On another plain ground, with the shadow it threw; with a box alone, what is around that fades away."""
        if subject.cutout is None and subject.core is not None:
            return _around(subject, Pictures.new("RGB", subject.image.size, GROUNDS[0]))
        cutout = _needed(subject.cutout)
        old = subject.ground or GROUNDS[0]
        other = [tone for tone in GROUNDS if max(abs(a - b) for a, b in zip(tone, old, strict=True)) >= OTHER_GROUND]
        tone = rng.choice(other)
        ground = Pictures.new("RGB", cutout.mask.size, tone)
        shown = ImageChops.multiply(ground, Pictures.merge("RGB", [cutout.shade] * 3))
        shown.paste(cutout.packshot, mask=cutout.mask)
        return Made(shown)

    def _scene(self, subject: Subject, rng: random.Random) -> Made:
        """In the room of another photo; with a box alone, before that photo out of focus."""
        if not self._rooms:
            raise NotPossibleError("no training photo has a box, so there is no room to stand in")
        cutout = None if subject.core is not None else _needed(subject.cutout)
        photo = rng.choice(self._rooms)
        room = self._room(photo)
        if cutout is not None:
            return Made(*placed(cutout, room, rng), photo)
        behind = ImageOps.fit(room, subject.image.size, Resampling.BICUBIC)
        blurred = behind.filter(ImageFilter.GaussianBlur(BLUR * max(behind.size)))
        return replace(_around(subject, blurred), room=photo)

    def _room(self, picture: Picture) -> Image:
        room = self._read(picture.location)
        return room if picture.box is None else empty_room(room, shown_box(picture.box, room))

    def _geometry(self, subject: Subject, rng: random.Random) -> Made:
        """Smaller and turned a little on its plain ground, or a smaller frame; mirrored half of the time."""
        image = subject.image
        if subject.ground is not None:
            angle = rng.choice((-1, 1)) * rng.uniform(*TURN)
            return subject.mirrored(Made(_turned(image, angle, rng.uniform(*SCALE))), rng)
        if subject.box is None:
            raise NotPossibleError("no plain ground, and no box that a smaller frame could be put around")
        frame = reframed(subject.box, *image.size, rng)
        x0, y0, x1, y1 = subject.box
        inside = (max(x0 - frame[0], 0), max(y0 - frame[1], 0), x1 - frame[0], y1 - frame[1])
        return subject.mirrored(Made(cropped(image, frame), inside), rng)

    def _light(self, subject: Subject, rng: random.Random) -> Made:
        """Warmer or colder, and darker or, where nothing is near to white, lighter; by at least half of the limits."""
        warmth = rng.choice((-1, 1)) * rng.uniform(0.5, 1) * WARMTH
        light = rng.uniform(0.5, 1) * BRIGHTNESS
        brightest = np.quantile(np.asarray(subject.image).max(axis=2), BRIGHT_SHARE)
        room = brightest * (1 + BRIGHTNESS) * (1 + WARMTH) <= 255
        darker = not room or rng.random() < 0.5
        return Made(warmer(brighter(subject.image, -light if darker else light), warmth), subject.box)


def is_sided(item: Item) -> bool:
    """Whether title, category or attributes name a left or a right side."""
    values = (value for own in item.attributes.values() for value in own)
    return any(_SIDED.search(text) for text in (item.title, *item.category, *values))


def plain_ground(image: Image) -> Colour | None:
    """The colour of the ground that surrounds the product; None if the border has several."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.int16)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = np.median(border, axis=0)
    plain = (np.abs(border - colour) <= PLAIN_RANGE).all(axis=1).mean() >= PLAIN_BORDER
    red, green, blue = colour.astype(int).tolist()
    return (red, green, blue) if plain else None


def cut_from_ground(image: Image) -> Cutout | None:
    """The product of a packshot on white or another plain ground; None if it cannot be told from it.

    On a coloured ground the mask is that of the difference from it, as if that stood on white.
    """
    ground = plain_ground(image)
    if ground is None or min(ground) >= WHITE:
        return cut_out(image)
    shown = image.copy()
    shown.thumbnail((SIDE, SIDE))
    same = ImageChops.invert(ImageChops.difference(shown, Pictures.new("RGB", shown.size, ground)))
    found = cut_out(same)
    return found and Cutout(shown, found.mask.filter(ImageFilter.MinFilter(3)), found.shade)


def _needed(cutout: Cutout | None) -> Cutout:
    if cutout is None:
        raise NotPossibleError("no box, and the product cannot be told from the ground")
    return cutout


def _box_of(cutout: Cutout) -> Box:
    return cutout.mask.point(lambda value: 255 * (value > 127)).getbbox() or (0, 0, *cutout.mask.size)


def _turned(image: Image, angle: float, scale: float) -> Image:
    """A picture on plain ground turned by degrees and made smaller; its border's pixels go on beyond it."""
    width, height = image.width / scale, image.height / scale
    beside = round(max(width, height) / 2)
    wide = Pictures.fromarray(np.pad(np.asarray(image), ((beside, beside), (beside, beside), (0, 0)), mode="edge"))
    x, y = (wide.width - width) / 2, (wide.height - height) / 2
    frame = (x, y, x + width, y + height)
    return wide.rotate(angle, Resampling.BICUBIC).resize(image.size, Resampling.BICUBIC, frame)


def _around(subject: Subject, behind: Image) -> Made:
    """The part in the subject's box before another picture of the same size, with a soft edge."""
    feather = FEATHER * max(subject.image.size)
    mask = Pictures.new("L", subject.image.size)
    mask.paste(255, tuple(map(round, subject.core or (0, 0, *mask.size))))  # type: ignore[arg-type]
    image = Pictures.composite(subject.image, behind, mask.filter(ImageFilter.GaussianBlur(feather)))
    return Made(image, subject.box)
