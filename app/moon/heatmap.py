"""Where the model looks in a picture (paper, figure 9): how much similarity is lost when a part of it is covered.

The paper draws attention. Our decision is occlusion (Zeiler & Fergus 2014): the tower of the starter has no attention,
and its skip path reads statistics of whole maps past the visual tokens, so that neither attention nor the tokens say
what its vector is made of. Covering measures the vector itself, in the same way for every model.

With f the embedding, x the picture, x_w the picture with window w in the colour of its border, and t a target vector:

    heat(c) = mean over the windows w that cover cell c of max(0, <f(x), t> - <f(x_w), t>)

t is f(x) itself, what the picture's own vector is made of, or the vector of a query, where the picture speaks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import Embedder
from app.schema import Query

GRID = 8
"""Cells along each side of a picture."""
WINDOW = 2
"""Cells along each side of what is covered at once; windows overlap, a cell apart."""
AT_ONCE = 8
"""Pictures in one call of the model; between two calls it answers others' queries."""

Heat = NDArray[np.float32]
"""Lost cosine similarity by cell, at least 0, shape (GRID, GRID), rows from the top."""
Target = NDArray[np.float32] | None
"""A query's unit vector of shape (dimensions,), or None: the picture's own."""
Window = tuple[int, int]
"""Row and column of its first cell."""


def heatmaps(embedder: Embedder, picture: Image, targets: Sequence[Target]) -> list[Heat]:
    """What each part of ``picture`` (RGB) adds to its similarity to each of the targets.

    Embeds (GRID - WINDOW + 1) ** 2 + 2 pictures, all cropped at the core product of the whole one, so that what is
    covered does not move the crop. Raises what ``embed_queries`` of the embedder raises.
    """
    _, found = embedder.embed_queries([Query(image=picture)])
    box = found[0] or (0.0, 0.0, float(picture.width), float(picture.height))
    whole = embedder.embed_queries([Query(image=picture, box=box)])[0][0]
    windows = list(_windows())
    covered = [Query(image=_without(picture, row, column), box=box) for row, column in windows]
    parts = [embedder.embed_queries(covered[at : at + AT_ONCE])[0] for at in range(0, len(covered), AT_ONCE)]
    lost = whole - np.concatenate(parts)
    return [_spread(windows, np.maximum(lost @ (whole if target is None else target), 0)) for target in targets]


def _spread(windows: Sequence[Window], losses: NDArray[np.float32]) -> Heat:
    """The mean loss of the windows that cover each cell."""
    heat, times = np.zeros((GRID, GRID), dtype=np.float32), np.zeros((GRID, GRID), dtype=np.float32)
    for (row, column), loss in zip(windows, losses, strict=True):
        heat[row : row + WINDOW, column : column + WINDOW] += loss
        times[row : row + WINDOW, column : column + WINDOW] += 1
    return heat / times


def _windows() -> Iterator[Window]:
    places = range(GRID - WINDOW + 1)
    return ((row, column) for row in places for column in places)


def _without(picture: Image, row: int, column: int) -> Image:
    """The picture with one window in the colour of its border."""
    left, right = (picture.width * cell // GRID for cell in (column, column + WINDOW))
    top, bottom = (picture.height * cell // GRID for cell in (row, row + WINDOW))
    covered = picture.copy()
    covered.paste(_border_colour(picture), (left, top, right, bottom))
    return covered


def _border_colour(picture: Image) -> tuple[int, ...]:
    """The median of each channel along the border: the ground that a product stands on."""
    pixels = np.asarray(picture)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(np.median(border, axis=0).astype(int).tolist())
