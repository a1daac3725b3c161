"""Customer photos made of a packshot: the product, cut out of its white ground, stands in another photo's room.

So a product that no customer photographed is seen in a room too, with its box known exactly (our decision).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageChops, ImageFilter, ImageOps
from PIL.Image import Image, Resampling
from scipy import ndimage

from app.schema import Box

SIDE, SMALLEST = 512, 16
"""Scenes, and the packshots for them, are at most this many pixels long, and packshots at least so many wide."""
WHITE, WHITE_BORDER = 240, 0.97
"""A packshot's ground: channels from here on, on that share of its border."""
SHADE, GREY, EDGE = 150, 12, 4.0
"""Ground in the product's shadow: how dark and how coloured it may be, and how steep in levels per pixel."""
HOLE = 2
"""Levels by which a hole in the product may be darker than the border."""
FAINT_EDGE, LEAK = 1.5, 1.25
"""A flood that stops at fainter edges may leave at most so much more of the product; else it runs into a white one."""
RIM = 2
"""Pixels beside the ground that are a mixture of product and white."""
PLAUSIBLE = (0.02, 0.95)
"""Share of the packshot that a product fills."""
SIZES = (0.33, 0.74)
"""Smallest and largest longer side of the product, in shares of the scene, as in the home-goods set's photos."""
PLACES = ((0.28, 0.72, 0.5), (0.33, 0.69, 0.51))
"""Least, largest and likeliest place of its centre from the left and from the top, in the same way."""
WINDOW = (0.7, 1.0)
"""Side of the part of the room that is shown, in shares of the photo's shorter side."""
MARGIN = 0.12
"""How far around its box a photo's own product is painted over, in shares of the box, for its shadow."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """A product without its ground: the packshot, where the product is (L), and the shadow that it throws (L)."""

    packshot: Image
    mask: Image
    shade: Image


def cut_out(packshot: Image) -> Cutout | None:
    """The product of a packshot; None if its border is not white or what is left is no plausible product."""
    packshot = packshot.copy()
    packshot.thumbnail((SIDE, SIDE))
    if min(packshot.size) < SMALLEST:
        return None
    pixels = np.asarray(packshot, dtype=np.float32)
    low = np.minimum.reduce(list(np.moveaxis(pixels, 2, 0)))
    border = np.concatenate([low[0], low[-1], low[:, 0], low[:, -1]])
    if (border >= WHITE).mean() < WHITE_BORDER:
        return None
    light = (low >= SHADE) & (np.maximum.reduce(list(np.moveaxis(pixels, 2, 0))) - low <= GREY)
    slope = np.hypot(*np.gradient(ndimage.uniform_filter(low, 3)))
    ground = _ground(low, light, slope <= EDGE)
    share = 1.0 - ground.mean()
    if not PLAUSIBLE[0] <= share <= PLAUSIBLE[1]:
        return None
    if 1.0 - _ground(low, light, slope <= FAINT_EDGE).mean() > LEAK * share:
        return None
    white = float(np.median(border))
    alpha, colours = _unmixed(pixels, low, ground, white)
    shade = np.where(ground, low / white, 1.0).clip(0, 1)
    return Cutout(_image(colours), _image(255 * alpha), _image(255 * shade).filter(ImageFilter.GaussianBlur(1.5)))


def _unmixed(
    pixels: NDArray[np.float32], low: NDArray[np.float32], ground: NDArray[np.bool_], white: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Opacity and own colour of every pixel.

    A pixel of the rim, where white shines through, is as opaque as it is dark beside the darkest pixel around it.
    """
    rim = ndimage.binary_dilation(ground, iterations=RIM) & ~ground
    darkest = ndimage.minimum_filter(low, 2 * RIM + 1)
    alpha = np.where(ground, 0.0, 1.0).astype(np.float32)
    alpha[rim] = ((white - low[rim]) / np.maximum(white - darkest[rim], 1)).clip(0.05, 1)
    colours = pixels.copy()
    share = alpha[rim][:, None]
    colours[rim] = (pixels[rim] - (1 - share) * white) / share
    return alpha, colours


def _image(values: NDArray[np.float32]) -> Image:
    return Pictures.fromarray(values.clip(0, 255).astype(np.uint8))


def _ground(low: NDArray[np.float32], light: NDArray[np.bool_], flat: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """White ground with soft shadows: what is reached over light, flat pixels from the border, and holes as white."""
    parts, count = ndimage.label(light & flat)
    means = ndimage.mean(low, parts, index=np.arange(1, count + 1))
    reached = np.concatenate([[False], means >= np.median(low[0]) - HOLE])
    reached[np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])] = True
    reached[0] = False
    return ndimage.binary_dilation(reached[parts], iterations=2, mask=light)


def empty_room(photo: Image, box: Box) -> Image:
    """A photo whose core product is painted over with what stands left and right of it, mirrored.

    A product with next to nothing beside it stays.
    """
    width, height = photo.size
    dx, dy = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    x0, y0 = max(0, int(box[0] - dx)), max(0, int(box[1] - dy))
    x1, y1 = min(width, int(box[2] + dx) + 1), min(height, int(box[3] + 2 * dy) + 1)
    left, right = x0, width - x1
    if left + right < 0.1 * width or x1 <= x0 or y1 <= y0:
        return photo
    seam, fade = round((x1 - x0) * left / (left + right)), (x1 - x0) // 8
    patch = _mirrored(photo, (max(0, x0 - seam), y0, x0, y1), (x1 - x0, y1 - y0), seam + fade, 0)
    beyond = min(x1 - x0 - seam, right)
    other = _mirrored(photo, (x1, y0, x1 + beyond, y1), patch.size, patch.width - seam + fade, seam - fade)
    side = Pictures.new("L", patch.size)
    side.paste(255, (seam, 0, *patch.size))
    patch.paste(other, mask=side.filter(ImageFilter.GaussianBlur(fade / 2)))
    feather = round(0.02 * width)
    mask = Pictures.new("L", patch.size)
    inner = (
        feather if x0 > 0 else 0,
        feather if y0 > 0 else 0,
        patch.width - (feather if x1 < width else 0),
        patch.height - (feather if y1 < height else 0),
    )
    mask.paste(255, inner)
    room = photo.copy()
    room.paste(patch, (x0, y0), mask.filter(ImageFilter.GaussianBlur(feather / 2)))
    return room


def _mirrored(photo: Image, strip: tuple[int, int, int, int], size: tuple[int, int], length: int, start: int) -> Image:
    """A strip of a photo, mirrored and stretched to ``length``, from ``start`` on in a picture of ``size``."""
    found = Pictures.new("RGB", size)
    if strip[2] > strip[0]:
        found.paste(ImageOps.mirror(photo.crop(strip)).resize((length, size[1]), Resampling.BILINEAR), (start, 0))
    return found


def placed(product: Cutout, room: Image, rng: random.Random) -> tuple[Image, Box]:
    """The product somewhere in a part of the room, with the shadow it threw, and its box in the scene's pixels."""
    scene = _window(room, rng)
    side = min(scene.size)
    x0, y0, x1, y1 = product.mask.point(lambda value: 255 * (value > 127)).getbbox() or (0, 0, *product.mask.size)
    scale = side * rng.uniform(*SIZES) / max(x1 - x0, y1 - y0)
    size = max(1, round(product.mask.width * scale)), max(1, round(product.mask.height * scale))
    x, y = (
        round(_between(length * rng.triangular(*places), scale * (end - start) / 2, length) - scale * (start + end) / 2)
        for length, start, end, places in ((scene.width, x0, x1, PLACES[0]), (scene.height, y0, y1, PLACES[1]))
    )
    shade = Pictures.new("L", scene.size, 255)
    shade.paste(product.shade.resize(size, Resampling.BILINEAR), (x, y))
    scene = ImageChops.multiply(scene, Pictures.merge("RGB", (shade, shade, shade)))
    mask = product.mask.resize(size, Resampling.BILINEAR)
    scene.paste(product.packshot.resize(size, Resampling.BICUBIC), (x, y), mask)
    return scene, (x + x0 * scale, y + y0 * scale, x + x1 * scale, y + y1 * scale)


def _window(room: Image, rng: random.Random) -> Image:
    """A random square of a room, mirrored half of the time, at most SIDE pixels long."""
    side = round(min(room.size) * rng.uniform(*WINDOW))
    x, y = rng.randint(0, room.width - side), rng.randint(0, room.height - side)
    window = room.crop((x, y, x + side, y + side))
    if rng.random() < 0.5:
        window = ImageOps.mirror(window)
    window.thumbnail((SIDE, SIDE))
    return window


def _between(centre: float, half: float, length: int) -> float:
    """A centre moved so that what reaches ``half`` to each side stays inside 0..length."""
    return min(max(centre, half), length - half)
