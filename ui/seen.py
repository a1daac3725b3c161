"""What the model sees in a photo, drawn on it: the core product in a frame, the warm parts of a heatmap in colour."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from app.moon.heatmap import Heat
from app.schema import Box
from ui.language import ENGLISH, Language
from ui.markup import text
from ui.photo import PREVIEW_PIXELS, thumbnail

COOL, WARM = np.array([255, 214, 10]), np.array([208, 0, 60])
"""Yellow to crimson: apart in brightness too, so that they differ without colour."""
FRAME = "#4338ca"
STRONGEST = 0.78
"""Opacity of the warmest part."""
PLACES = (("upper left", "upper", "upper right"), ("left", "middle", "right"), ("lower left", "lower", "lower right"))
NOTICEABLE = 1e-4
"""Lost similarity below which a picture has no warm part."""


def overlay(heat: Heat, size: tuple[int, int]) -> Image.Image:
    """The layer (RGBA, ``size`` in pixels), each part as opaque as it is warm, the warmest at :data:`STRONGEST`."""
    share = heat / heat.max() if heat.max() > NOTICEABLE else np.zeros_like(heat)
    smooth = np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)[..., None]
    layer = np.concatenate([COOL + (WARM - COOL) * smooth, 255 * STRONGEST * smooth], axis=2)
    return Image.fromarray(layer.round().astype(np.uint8), "RGBA")


def warm_parts(photo: Image.Image, heat: Heat, caption: str, say: Language = ENGLISH) -> str:
    """The photo under its heat, with an alternative text that says where it is warmest."""
    small = _small(photo)
    shown = Image.alpha_composite(small.convert("RGBA"), overlay(heat, small.size)).convert("RGB")
    return _figure(shown, caption, say("{caption}: {warmest}", caption=caption, warmest=_warmest(heat, say)))


def core_product(photo: Image.Image, box: Box, caption: str) -> str:
    """The photo with a frame around ``box``, in pixels of the photo."""
    small = _small(photo)
    scale = small.width / photo.width
    left, top, right, bottom = (side * scale for side in box)
    pen = ImageDraw.Draw(small)
    for grow, colour in ((0, "white"), (2, FRAME)):
        pen.rectangle((left - grow, top - grow, right + grow, bottom + grow), outline=colour, width=2)
    return _figure(small, caption, caption)


def _small(photo: Image.Image) -> Image.Image:
    small = photo.copy()
    small.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    return small


def _figure(shown: Image.Image, caption: str, alternative: str) -> str:
    return (
        f'<figure class="seen"><img src="{thumbnail(shown)}" alt="{text(alternative)}"'
        f' width="{shown.width}" height="{shown.height}"><figcaption>{text(caption)}</figcaption></figure>'
    )


def _warmest(heat: Heat, say: Language) -> str:
    """Where the centre of the warmth lies, in words.

    >>> _warmest(np.eye(1, 9, dtype=np.float32).reshape(3, 3), ENGLISH)
    'warmest in the upper left'
    """
    if heat.max() <= NOTICEABLE:
        return say("no part stands out")
    rows, columns = (np.arange(side) + 0.5 for side in heat.shape)
    down = float((heat.sum(axis=1) * rows).sum() / heat.sum() / heat.shape[0])
    across = float((heat.sum(axis=0) * columns).sum() / heat.sum() / heat.shape[1])
    return say("warmest in the {place}", place=say(PLACES[_third(down)][_third(across)]))


def _third(share: float) -> int:
    return 0 if share < 0.4 else 2 if share > 0.6 else 1
