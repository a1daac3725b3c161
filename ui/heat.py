"""Heatmaps as pictures: the warm parts of a photo under a transparent layer of colour."""

from __future__ import annotations

import numpy as np
from PIL import Image

from app.moon.heatmap import Heat
from ui.markup import text
from ui.photo import PREVIEW_PIXELS, thumbnail

COOL, WARM = np.array([255, 214, 10]), np.array([208, 0, 60])
"""Yellow to crimson: apart in brightness too, so that they differ without colour."""
STRONGEST = 0.78
"""Opacity of the warmest part."""
NOTICEABLE = 1e-4
"""Lost similarity below which a picture has no warm part."""


def overlay(heat: Heat, size: tuple[int, int]) -> Image.Image:
    """The layer (RGBA, ``size`` in pixels), each part as opaque as it is warm, the warmest at :data:`STRONGEST`."""
    share = heat / heat.max() if heat.max() > NOTICEABLE else np.zeros_like(heat)
    smooth = np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)[..., None]
    layer = np.concatenate([COOL + (WARM - COOL) * smooth, 255 * STRONGEST * smooth], axis=2)
    return Image.fromarray(layer.round().astype(np.uint8), "RGBA")


def figure(photo: Image.Image, heat: Heat, caption: str) -> str:
    """The photo under its heat with a caption and an alternative text that says where it is warmest."""
    small = photo.copy()
    small.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    shown = Image.alpha_composite(small.convert("RGBA"), overlay(heat, small.size)).convert("RGB")
    return (
        f'<figure class="heat"><img src="{thumbnail(shown)}" alt="{text(caption)}: {_warmest(heat)}"'
        f' width="{small.width}" height="{small.height}"><figcaption>{text(caption)}</figcaption></figure>'
    )


def _warmest(heat: Heat) -> str:
    """Where the centre of the warmth lies, in words.

    >>> _warmest(np.eye(1, 9, dtype=np.float32).reshape(3, 3))
    'warmest in the upper left'
    """
    if heat.max() <= NOTICEABLE:
        return "no part stands out"
    rows, columns = (np.arange(side) + 0.5 for side in heat.shape)
    down = float((heat.sum(axis=1) * rows).sum() / heat.sum() / heat.shape[0])
    across = float((heat.sum(axis=0) * columns).sum() / heat.sum() / heat.shape[1])
    places = [_third(down, "upper", "lower"), _third(across, "left", "right")]
    return f"warmest in the {' '.join(filter(None, places)) or 'middle'}"


def _third(share: float, first: str, last: str) -> str:
    return first if share < 0.4 else last if share > 0.6 else ""
