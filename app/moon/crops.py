"""Boxes that pictures are cropped with, in pixels."""

from __future__ import annotations

from PIL.Image import Image

from app.schema import Box

MIN_AREA = 0.01
WHOLE_AREA = 0.95
PADDING = 0.05


def usable_box(box: Box, width: float, height: float) -> Box | None:
    """A detector's answer in pixels made safe: ordered, clipped to the picture, padded by 5 %.

    None stands for "no crop": under 1 % of the area is no product, over 95 % is the whole picture (our decision).
    """
    x0, x1 = sorted((min(max(box[0], 0.0), width), min(max(box[2], 0.0), width)))
    y0, y1 = sorted((min(max(box[1], 0.0), height), min(max(box[3], 0.0), height)))
    share = (x1 - x0) * (y1 - y0) / (width * height)
    if not MIN_AREA <= share <= WHOLE_AREA:
        return None
    dx, dy = PADDING * (x1 - x0), PADDING * (y1 - y0)
    return max(0.0, x0 - dx), max(0.0, y0 - dy), min(width, x1 + dx), min(height, y1 + dy)


def unpadded(box: Box, width: float, height: float) -> Box:
    """The box that a detector's safe answer was made of: :func:`usable_box` of it is ``box`` again."""
    (x0, x1), (y0, y1) = _unpadded(box[0], box[2], width), _unpadded(box[1], box[3], height)
    return x0, y0, x1, y1


def _unpadded(low: float, high: float, limit: float) -> tuple[float, float]:
    """One axis of a box that was padded on both sides and clipped to 0..limit."""
    open_ends = (low > 0) + (high < limit)
    padding = (high - low) * PADDING / (1 + open_ends * PADDING)
    return low + padding * (low > 0), high - padding * (high < limit)


def cropped(image: Image, box: Box) -> Image:
    """The part of a picture in a box of :func:`usable_box`, rounded to pixels, at least one wide and high."""
    x0, y0, x1, y1 = map(round, box)
    return image.crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))
