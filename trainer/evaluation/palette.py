"""Naming colours without a model: the named colour whose centre is nearest to a product's mean colour in CIELAB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

WHITE = 250
"""Pixels with no channel below are the ground of a catalog picture."""
LINEAR_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
D65 = np.array([0.95047, 1.0, 1.08883])


class Palette:
    """Centres of named colours: the mean of the mean colours of training products of each name."""

    def __init__(self, colours: NDArray[np.float64], names: Sequence[str]) -> None:
        """``colours`` (products, 3) from :func:`mean_colour`, and each product's main colour name."""
        self._names = sorted(set(names))
        own = np.array(names)
        self._centres = np.stack([colours[own == name].mean(axis=0) for name in self._names])

    def names(self, colours: NDArray[np.float64]) -> list[str]:
        """The nearest name of each of ``colours`` (pictures, 3)."""
        distances = np.linalg.norm(colours[:, None] - self._centres[None], axis=2)
        return [self._names[place] for place in distances.argmin(axis=1)]


def mean_colour(image: Image) -> NDArray[np.float64]:
    """CIELAB coordinates (3,) of the mean of the pixels that are not white; of all pixels if all are."""
    channels = np.ascontiguousarray(np.asarray(image.convert("RGB")).reshape(-1, 3).T)
    shown = channels[:, (channels < WHITE).any(axis=0)]
    return lab((shown if shown.size else channels).mean(axis=1, dtype=np.float64) / 255)


def lab(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB in 0..1 (..., 3) to CIELAB under D65 (..., 3), as the CIE defines it.

    >>> lab(np.array([1.0, 0.0, 0.0])).round(0).tolist()
    [53.0, 80.0, 67.0]
    """
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    scaled = linear @ LINEAR_TO_XYZ.T / D65
    f = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
