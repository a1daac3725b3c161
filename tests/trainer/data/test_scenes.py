from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from trainer.data.scenes import SIZES, cut_out, empty_room, placed

BOX = (60, 50, 139, 109)


def packshot(colour="navy", ground="white", box=BOX) -> Image.Image:
    image = Image.new("RGB", (200, 160), ground)
    ImageDraw.Draw(image).rectangle(box, fill=colour)
    return image


def test_a_product_is_cut_out_of_white_with_its_hole():
    image = packshot()
    ImageDraw.Draw(image).rectangle((90, 70, 109, 89), fill="white")
    mask = np.asarray(cut_out(image).mask) > 127
    expected = np.asarray(image.convert("L")) < 128
    assert (mask != expected).mean() < 0.01


def test_white_that_shines_through_the_rim_is_taken_out():
    soft = packshot().filter(ImageFilter.GaussianBlur(0.7))
    scene, _ = placed(cut_out(soft), Image.new("RGB", (200, 200), "black"), random.Random(0))
    assert np.asarray(scene)[..., 0].max() < 60


def test_the_shadow_on_the_ground_falls_on_the_room():
    image = Image.new("RGB", (200, 160), "white")
    shadow = Image.new("L", image.size, 0)
    ImageDraw.Draw(shadow).ellipse((50, 90, 160, 125), fill=45)
    image.paste("black", mask=shadow.filter(ImageFilter.GaussianBlur(12)))
    ImageDraw.Draw(image).rectangle(BOX, fill="navy")
    product = cut_out(image)
    scene, (_, _, _, bottom) = placed(product, Image.new("RGB", (300, 300), "wheat"), random.Random(1))
    red = np.asarray(scene)[..., 0]
    below = red[int(bottom) + 4 : int(bottom) + 12]
    assert below.min() < 230
    assert red.max() == 245
    assert (np.asarray(product.mask)[112:] > 127).mean() < 0.02


@pytest.mark.parametrize(
    "image",
    [
        packshot(ground="khaki"),
        packshot(box=(0, 0, 198, 158)),
        packshot(box=(100, 80, 108, 88)),
        packshot(box=(-1, -1, -1, -1)),
        Image.new("RGB", (900, 1), "white"),
    ],
    ids=["not on white", "beyond the border", "speck", "nothing", "line"],
)
def test_what_is_no_product_on_white_is_not_cut_out(image):
    assert cut_out(image) is None


def test_a_white_product_into_which_the_ground_runs_is_not_cut_out():
    image = packshot(colour=(250, 250, 250))
    ImageDraw.Draw(image).rectangle((60, 50, 139, 65), fill="navy")
    assert cut_out(image) is None


@given(st.integers(20, 300), st.integers(20, 300), st.integers(0, 999), st.sampled_from([20, 200, 700]))
@settings(max_examples=40, deadline=None)
def test_a_product_stands_whole_inside_its_scene(width, height, seed, side):
    product = cut_out(packshot().resize((width, height), Image.Resampling.NEAREST))
    scene, (x0, y0, x1, y1) = placed(product, Image.new("RGB", (side, side + 30), "khaki"), random.Random(seed))
    assert scene.width == scene.height <= 512
    assert -1 <= x0 < x1 <= scene.width + 1
    assert -1 <= y0 < y1 <= scene.height + 1
    assert SIZES[0] - 0.01 <= max(x1 - x0, y1 - y0) / scene.width <= SIZES[1] + 0.01


@pytest.mark.parametrize("box", [(60, 50, 139, 109), (0, 50, 90, 109), (110, 50, 199, 109), (60, 0, 139, 159)])
def test_a_room_without_its_product_shows_its_walls(box):
    room = empty_room(packshot("red", "green", box), (box[0], box[1], box[2] + 1, box[3] + 1))
    assert room.size == (200, 160)
    assert np.asarray(room)[..., 0].max() < 30


def test_a_room_that_the_product_fills_stays():
    image = packshot("red", "green", (2, 2, 197, 157))
    assert empty_room(image, (2.0, 2.0, 198.0, 158.0)) is image


@given(st.integers(-50, 250), st.integers(-50, 250), st.integers(-50, 250), st.integers(-50, 250))
@settings(max_examples=60, deadline=None)
def test_any_box_leaves_a_room_of_the_same_size(x0, y0, x1, y1):
    assert empty_room(packshot(), (float(x0), float(y0), float(x1), float(y1))).size == (200, 160)
