"""What a customer's camera does to a picture: colour temperature, exposure, blur and compression (our decision)."""

from __future__ import annotations

import io
import random

from PIL import Image as Pictures
from PIL import ImageEnhance, ImageFilter
from PIL.Image import Image

WARMTH, BRIGHTNESS = 0.08, 0.2
"""Largest change of red and, the other way, of blue, small since shoppers ask for colours; and of all channels."""
WARM, EXPOSED, BLURRED, COMPRESSED = 0.5, 0.5, 0.3, 0.5
"""How often each happens."""
BLUR = 0.004
"""Largest radius of the blur, in shares of the longer side."""
QUALITY = (40, 90)


def photographed(image: Image, rng: random.Random) -> Image:
    """An RGB picture as another camera might have taken it; the same for the same state of ``rng``."""
    if rng.random() < WARM:
        image = warmer(image, rng.uniform(-WARMTH, WARMTH))
    if rng.random() < EXPOSED:
        image = brighter(image, rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    if rng.random() < BLURRED:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 1.0) * BLUR * max(image.size)))
    if rng.random() < COMPRESSED:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(*QUALITY))
        image = Pictures.open(file).convert("RGB")
    return image


def warmer(image: Image, gain: float) -> Image:
    """Red raised and blue lowered by the share ``gain``; a negative one makes an RGB picture colder."""
    red, green, blue = image.split()
    return Pictures.merge("RGB", (red.point(_times(1 + gain)), green, blue.point(_times(1 - gain))))


def brighter(image: Image, gain: float) -> Image:
    """All channels raised by the share ``gain``."""
    return ImageEnhance.Brightness(image).enhance(1 + gain)


def _times(gain: float) -> list[int]:
    return [min(255, round(value * gain)) for value in range(256)]
