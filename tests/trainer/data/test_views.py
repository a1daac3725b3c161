from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.moon.load import load_module
from trainer.data.views import TowerMaps, View, loose_crop, padded, reframed


@st.composite
def scenes(draw):
    """A picture's size, a box of at least 4 pixels inside it, and a random generator."""
    width, height = draw(st.integers(40, 400)), draw(st.integers(40, 400))
    side = min(width, height)
    x0, y0 = draw(st.integers(0, width - 5)), draw(st.integers(0, height - 5))
    x1 = draw(st.integers(x0 + 4, min(width, x0 + side)))
    y1 = draw(st.integers(y0 + 4, min(height, y0 + side)))
    return (float(x0), float(y0), float(x1), float(y1)), width, height, random.Random(draw(st.integers(0, 999)))


def inside(crop, width, height) -> bool:
    return 0 <= crop[0] < crop[2] <= width + 1e-6 and 0 <= crop[1] < crop[3] <= height + 1e-6


@given(scenes())
def test_reframed_photos_are_squares_inside_the_picture_that_hold_the_box(scene):
    box, width, height, rng = scene
    frame = reframed(box, width, height, rng)
    assert inside(frame, width, height)
    assert frame[2] - frame[0] == pytest.approx(frame[3] - frame[1])
    assert frame[0] <= box[0] + 1e-6
    assert frame[1] <= box[1] + 1e-6
    assert frame[2] >= box[2] - 1e-6
    assert frame[3] >= box[3] - 1e-6


@given(scenes())
def test_loose_crops_stay_inside_the_picture_and_keep_most_of_the_box(scene):
    box, width, height, rng = scene
    crop = loose_crop(box, width, height, rng)
    assert inside(crop, width, height)
    kept = (min(crop[2], box[2]) - max(crop[0], box[0])) * (min(crop[3], box[3]) - max(crop[1], box[1]))
    assert kept >= 0.64 * (box[2] - box[0]) * (box[3] - box[1]) - 1e-6


@given(scenes(), st.floats(0, 1))
def test_padded_boxes_hold_the_box_and_stay_inside_the_picture(scene, margin):
    box, width, height, _ = scene
    grown = padded(box, margin, width, height)
    assert inside(grown, width, height)
    assert grown[0] <= box[0]
    assert grown[1] <= box[1]
    assert grown[2] >= box[2]
    assert grown[3] >= box[3]


def test_training_views_of_a_photo_are_always_the_same(home):
    photo = home.photos[0]
    assert photo.variants() == photo.variants()
    assert photo.variants() != home.photos[1].variants()


def test_tower_maps_come_in_the_asked_order_and_again_from_the_cache(home, checkpoint, tmp_path):
    tower = load_module(str(checkpoint), torch.float32).model.vision_tower
    photo, product = home.photos[0], home.products[0].product
    views = [photo.whole, photo.boxed, View(product.images[0])]
    maps = TowerMaps.compute(tower, views, home.root, tmp_path)
    assert maps[views].shape == (3, 24, 2, 2)
    assert torch.equal(maps[views[::-1]], maps[views].flip(0))
    assert not torch.equal(maps[views[:1]], maps[views[1:2]])
    again = TowerMaps.compute(tower, views, home.root, tmp_path)
    assert torch.equal(again[views], maps[views])
    assert len(list(tmp_path.iterdir())) == 1
    assert maps.pooled(1)[views].shape == (3, 24, 1, 1)
