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
from app.moon.crops import unpadded, usable_box
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
"""Beside the core product; those that more windows agree on come first."""
SIDE = 1024
"""Pixels of the longer side that are looked at."""
AT_ONCE = 8
"""Windows in one call of the model; between two calls it answers others' queries."""

Boxes = NDArray[np.float64]
"""x0, y0, x1, y1 in pixels, shape (boxes, 4)."""


def reduced(photo: Image) -> Image:
    """As much of a photo as :func:`products_in` needs, so that a large one has to be in memory no longer."""
    scale = SIDE / max(photo.size)
    return photo if scale >= 1 else photo.resize([max(1, round(side * scale)) for side in photo.size])


def products_in(embedder: Embedder, photo: Image) -> list[Box]:
    """Boxes of products in ``photo`` (RGB), in its pixels: the core product's, then up to ``OTHERS`` more.

    They are as a query takes its box, which pads it. Embeds ``WINDOWS`` ** 2 + 1 pictures; empty, after one, where
    there is no core product to crop. Raises what ``embed_queries`` of the embedder raises.
    """
    core = embedder.embed_queries([Query(image=photo)])[1][0]
    if core is None:
        return []
    windows = list(_windows(photo))
    found: list[Box] = []
    for start in range(0, len(windows), AT_ONCE):
        own = windows[start : start + AT_ONCE]
        _, boxes = embedder.embed_queries([Query(image=photo.crop(window)) for window in own])
        whole = (_whole(box, window, photo) for window, box in zip(own, boxes, strict=True) if box)
        found += [box for box in whole if box]
    core = unpadded(core, *photo.size)
    others = _apart(np.array(found, dtype=np.float64).reshape(-1, 4), core)
    return [core, *(box for box in others if usable_box(box, *photo.size))][: 1 + OTHERS]


def _windows(photo: Image) -> Iterator[tuple[int, int, int, int]]:
    width, height = round(photo.width * WINDOW), round(photo.height * WINDOW)
    for top in np.linspace(0, photo.height - height, WINDOWS).round().astype(int).tolist():
        for left in np.linspace(0, photo.width - width, WINDOWS).round().astype(int).tolist():
            yield left, top, left + width, top + height


def _whole(box: Box, window: tuple[int, int, int, int], photo: Image) -> Box | None:
    """A detector's box in a window as one in the photo; None if it ends at an edge where the photo goes on."""
    left, top, right, bottom = window
    width, height = right - left, bottom - top
    x0, y0, x1, y1 = unpadded(box, width, height)
    if (
        (left > 0 and x0 < EDGE * width)
        or (top > 0 and y0 < EDGE * height)
        or (right < photo.width and x1 > (1 - EDGE) * width)
        or (bottom < photo.height and y1 > (1 - EDGE) * height)
    ):
        return None
    return x0 + left, y0 + top, x1 + left, y1 + top


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
        if (_overlap(before, box) <= PART * smaller).all():
            kept.append(tuple(box.tolist()))
    return kept


def _overlap(boxes: Boxes, box: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    return sides.clip(min=0).prod(axis=1)


def _areas(boxes: Boxes) -> NDArray[np.float64]:
    return (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1)
