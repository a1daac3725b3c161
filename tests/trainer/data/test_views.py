from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.moon.boxes import usable_box
from trainer.data.pictures import ORIGINAL_SIZE
from trainer.data.views import VARIANTS, View, loose_crop, reframed

BOX = (100.0, 50.0, 300.0, 250.0)


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


def picture(width: int = 400, height: int = 300) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def shrunk(image: Image.Image, factor: int) -> Image.Image:
    """As PictureStore hands on a large picture."""
    small = image.resize((image.width // factor, image.height // factor))
    small.info[ORIGINAL_SIZE] = image.size
    return small


@pytest.mark.parametrize("cut", ["core", "loose", "frame"])
def test_every_variant_of_a_picture_is_always_the_same_and_unlike_the_others(cut):
    found = [View("a.jpg", BOX, cut, variant).crop(picture()) for variant in range(VARIANTS)]
    assert found == [View("a.jpg", BOX, cut, variant).crop(picture()) for variant in range(VARIANTS)]
    assert len(set(found)) == (1 if cut == "core" else VARIANTS)
    assert (View("b.jpg", BOX, cut).crop(picture()) == found[0]) == (cut == "core")


def test_a_core_is_cut_as_in_the_index():
    crop = View("a.jpg", BOX, "core").crop(picture())
    assert crop == usable_box(BOX, 400, 300) == (90.0, 40.0, 310.0, 260.0)
    assert View("a.jpg", BOX, "core").of(picture()).size == (220, 220)


@pytest.mark.parametrize("cut", ["core", "loose", "frame"])
def test_boxes_are_of_the_original_picture_also_where_a_smaller_one_was_read(cut):
    view, image = View("a.jpg", BOX, cut), picture()
    assert view.crop(shrunk(image, 4)) == pytest.approx([side / 4 for side in view.crop(image)])


def test_a_whole_picture_is_shown_as_it_is():
    image = picture()
    assert View("a.jpg", BOX).of(image) is image
    assert View("a.jpg", None, "core").of(image) is image


@pytest.mark.parametrize("cut", ["core", "loose", "frame"])
@pytest.mark.parametrize(
    "box",
    [(0.0, 0.0, 400.0, 299.0), (5.0, 5.0, 9.0, 9.0), (450.0, 320.0, 600.0, 500.0)],
    ids=["all", "speck", "beyond"],
)
def test_a_box_that_is_no_use_leaves_the_whole_picture(cut, box):
    assert View("a.jpg", box, cut).crop(picture()) is None


@pytest.mark.parametrize("variant", range(6))
@pytest.mark.parametrize("cut", ["core", "loose", "frame"])
def test_cuts_of_a_box_that_reaches_beyond_the_picture_stay_inside_it(cut, variant):
    view = View("a.jpg", (360.0, 150.0, 900.0, 290.0), cut, variant)
    assert inside(view.crop(picture()), 400, 300)
    assert min(view.of(picture()).size) > 10
