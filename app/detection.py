"""All products in a photo: a detector that answers one box looks at parts of the photo, too (our decision).

Shown a whole room, the detector finds the product that stands out; shown a window of it, the one that stands out there.
Boxes that their window cuts off are parts of products and are dropped, those that agree become one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import Embedder
from app.schema import Box, Query

WINDOW = 0.6
"""Sides of a window, as a share of the photo's."""
WINDOWS = 3
"""Along each side of the photo, evenly spread."""
EDGE = 0.02
"""How near to an edge of its window, as a share of it, a box counts as cut off."""
SAME, PART = 0.5, 0.5
"""Boxes show one product above this intersection over union, or share of the smaller one."""
OTHERS = 4
"""Beside the core product, those on which most windows agree."""
AT_ONCE = 8
"""Windows in one call of the model; between two calls it answers others' queries."""

Boxes = NDArray[np.float64]
"""x0, y0, x1, y1 in pixels, shape (boxes, 4)."""


def products_in(embedder: Embedder, photo: Image) -> list[Box]:
    """Boxes of products in ``photo`` (RGB), in its pixels: the core product's, then up to ``OTHERS`` more.

    Embeds ``WINDOWS`` ** 2 + 1 pictures; empty, after one, where there is no core product to crop. Raises what
    ``embed_queries`` of the embedder raises.
    """
    core = embedder.embed_queries([Query(image=photo)])[1][0]
    if core is None:
        return []
    windows = list(_windows(photo))
    found: list[Box] = []
    for start in range(0, len(windows), AT_ONCE):
        own = windows[start : start + AT_ONCE]
        _, boxes = embedder.embed_queries([Query(image=photo.crop(window)) for window in own])
        found += [
            (box[0] + window[0], box[1] + window[1], box[2] + window[0], box[3] + window[1])
            for window, box in zip(own, boxes, strict=True)
            if box is not None and not _is_cut_off(box, window, photo.size)
        ]
    return [core, *_apart(np.array(found, dtype=np.float64).reshape(-1, 4), core)]


def _windows(photo: Image) -> Iterator[tuple[int, int, int, int]]:
    width, height = round(photo.width * WINDOW), round(photo.height * WINDOW)
    for top in np.linspace(0, photo.height - height, WINDOWS).round().astype(int).tolist():
        for left in np.linspace(0, photo.width - width, WINDOWS).round().astype(int).tolist():
            yield left, top, left + width, top + height


def _is_cut_off(box: Box, window: tuple[int, int, int, int], size: tuple[int, int]) -> bool:
    """Whether the box, in pixels of the window, ends at an edge where the photo goes on."""
    x0, y0, x1, y1 = window
    width, height = x1 - x0, y1 - y0
    return (
        (x0 > 0 and box[0] < EDGE * width)
        or (y0 > 0 and box[1] < EDGE * height)
        or (x1 < size[0] and box[2] > (1 - EDGE) * width)
        or (y1 < size[1] and box[3] > (1 - EDGE) * height)
    )


def _apart(found: Boxes, core: Box) -> list[Box]:
    """Means of boxes that agree, those of most agreement first, none on the core product or on another."""
    shared = np.array([_overlap(found, box) for box in found]).reshape(len(found), len(found))
    areas = _areas(found)
    agreement = shared / np.maximum(areas[:, None] + areas - shared, 1e-9)
    kept: list[Box] = []
    for row in np.argsort(-agreement.sum(axis=1), kind="stable"):
        box = found[agreement[row] > SAME].mean(axis=0)
        before = np.array([core, *kept])
        smaller = np.minimum(_areas(box[None]), _areas(before))
        if len(kept) < OTHERS and (_overlap(before, box) <= PART * smaller).all():
            kept.append(tuple(box.tolist()))
    return kept


def _overlap(boxes: Boxes, box: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    return sides.clip(min=0).prod(axis=1)


def _areas(boxes: Boxes) -> NDArray[np.float64]:
    return (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1)
