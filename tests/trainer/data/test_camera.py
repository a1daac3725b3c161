from __future__ import annotations

import random

import numpy as np
from PIL import Image

from trainer.data.camera import BRIGHTNESS, WARMTH, photographed


def test_a_picture_changes_mildly_and_keeps_its_size():
    image = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    means = []
    for seed in range(60):
        found = photographed(image, random.Random(seed))
        assert (found.size, found.mode) == (image.size, "RGB")
        assert found.tobytes() == photographed(image, random.Random(seed)).tobytes()
        means.append(np.asarray(found).mean(axis=(0, 1)) / np.asarray(image).mean())
    assert np.ptp(means, axis=0).min() > 0.1
    assert np.abs(np.array(means) - 1).max() < (1 + BRIGHTNESS) * (1 + WARMTH) - 1 + 0.02


def test_some_pictures_stay_as_they_are():
    image = Image.new("RGB", (8, 8), "teal")
    same = [photographed(image, random.Random(seed)).tobytes() == image.tobytes() for seed in range(100)]
    assert 2 <= sum(same) <= 40


def test_warm_light_gives_to_red_what_it_takes_from_blue():
    image = Image.new("RGB", (16, 16), (120, 120, 120))
    for seed in range(100):
        red, green, blue = np.asarray(photographed(image, random.Random(seed))).mean(axis=(0, 1))
        assert abs((red + blue) / 2 - green) <= 2.5
