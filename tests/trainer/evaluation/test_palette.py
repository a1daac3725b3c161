from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainer.evaluation.palette import Palette, lab, mean_colour


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((1, 1, 1), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((0, 0, 1), (32.3, 79.2, -107.9)),
        ((0.5, 0.5, 0.5), (53.4, 0.0, 0.0)),
    ],
)
def test_lab_has_the_published_coordinates(rgb, expected):
    assert lab(np.array(rgb, dtype=float)) == pytest.approx(expected, abs=0.1)


def test_the_white_ground_does_not_count():
    image = Image.new("RGB", (20, 20), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 3, 3), fill=(200, 10, 10))
    assert mean_colour(image) == pytest.approx(lab(np.array([200, 10, 10]) / 255))


def test_a_white_product_on_white_is_white():
    assert mean_colour(Image.new("RGB", (8, 8), "white")) == pytest.approx((100, 0, 0), abs=0.1)


def test_a_colour_gets_the_name_of_the_nearest_centre():
    seen = lab(np.array([[0.9, 0.1, 0.1], [0.7, 0.1, 0.1], [0.1, 0.1, 0.8]]))
    palette = Palette(seen, ["red", "red", "blue"])
    assert palette.names(lab(np.array([[0.8, 0.2, 0.2], [0.1, 0.2, 0.6]]))) == ["red", "blue"]
