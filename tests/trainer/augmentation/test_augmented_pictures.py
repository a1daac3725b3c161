from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainer.augmentation.config import PICTURES
from trainer.augmentation.pictures import NotPossibleError, Studio, Subject, cut_from_ground, is_sided, plain_ground
from trainer.data.record import Item, Picture
from trainer.evaluation.palette import lab

ROOM = Image.new("RGB", (300, 200), "burlywood")
ROOMS = (Picture("room"),)
PLACE = (60, 40, 140, 120)
SEEDS = range(30)
NAMED = {
    "white": (250, 250, 250),
    "cream": (248, 236, 205),
    "light grey": (205, 205, 205),
    "grey": (128, 128, 128),
    "black": (30, 30, 30),
    "beige": (215, 190, 155),
    "brown": (110, 70, 40),
    "red": (190, 30, 35),
    "orange": (235, 125, 30),
    "yellow": (245, 210, 40),
    "green": (50, 130, 60),
    "teal": (0, 128, 128),
    "blue": (40, 80, 180),
    "navy": (25, 30, 80),
    "purple": (110, 50, 130),
    "pink": (240, 150, 180),
}


def packshot(colour="red", ground="white") -> Image.Image:
    """A product that is darker on its left side, on plain ground."""
    image = Image.new("RGB", (200, 160), ground)
    draw = ImageDraw.Draw(image)
    draw.rectangle(PLACE, fill=colour)
    draw.rectangle((60, 40, 90, 120), fill="black")
    return image


def photo() -> Image.Image:
    """The product in coloured noise."""
    noise = np.random.default_rng(0).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image.paste(packshot().crop(PLACE), PLACE[:2])
    return image


def make(kind, image=None, box=None, sided=False, seed=0, rooms=ROOMS):
    studio = Studio(rooms, lambda location: ROOM.copy())
    return studio.make(kind, Subject(image or packshot(), box, sided), random.Random(seed))


def share(image: Image.Image, colour: tuple[int, int, int], within: int = 30) -> float:
    pixels = np.asarray(image, dtype=int)
    return float((np.abs(pixels - colour) <= within).all(axis=2).mean())


@pytest.mark.parametrize("kind", PICTURES)
def test_the_same_draw_makes_the_same_and_another_draw_something_else(kind):
    first, again, *others = (make(kind, seed=seed).image.tobytes() for seed in (1, 1, 2, 3, 4))
    assert first == again
    assert kind == "crop" or any(other != first for other in others)


@pytest.mark.parametrize("ground", ["white", (200, 220, 180), (40, 40, 60)])
def test_the_core_is_cropped_out_of_plain_ground_of_any_colour(ground):
    width, height = make("crop", packshot(ground=ground)).image.size
    assert 80 <= width <= 96
    assert 80 <= height <= 96


def test_the_core_is_cropped_to_its_box_in_a_photo():
    assert make("crop", photo(), PLACE).image.size == (88, 88)


@pytest.mark.parametrize("ground", ["white", (200, 220, 180), (40, 40, 60)])
def test_the_mask_is_where_the_colour_differs_from_the_ground(ground):
    cutout = cut_from_ground(packshot(ground=ground))
    x0, y0, x1, y1 = cutout.mask.point(lambda value: 255 * (value > 127)).getbbox()
    assert (x0, y0, x1, y1) == pytest.approx((60, 40, 141, 121), abs=3)


def test_another_ground_leaves_the_product_as_it_is():
    image = make("ground").image
    assert plain_ground(image) not in (None, (255, 255, 255))
    assert share(image, (255, 0, 0)) == pytest.approx(share(packshot(), (255, 0, 0)), rel=0.06)


def test_around_a_box_everything_fades_to_white():
    made = make("ground", photo(), PLACE)
    assert made.image.getpixel((5, 5)) == made.image.getpixel((195, 155)) == (255, 255, 255)
    assert made.image.getpixel((120, 80)) == (255, 0, 0)
    assert made.box == PLACE


def test_a_scene_shows_the_product_in_another_room_and_knows_its_box():
    made = make("scene")
    x0, y0, x1, y1 = map(round, made.box)
    inside = made.image.crop((x0 + 3, y0 + 3, x1 - 3, y1 - 3))
    assert share(inside, (255, 0, 0), within=90) > 0.4
    assert share(made.image, (222, 184, 135), within=70) > 0.2


def test_a_photo_stands_before_another_room_where_only_its_box_is_known():
    made = make("scene", photo(), PLACE)
    assert share(made.image.crop((0, 0, 30, 160)), (222, 184, 135)) > 0.9
    assert made.image.getpixel((120, 80)) == (255, 0, 0)


def test_without_photos_with_boxes_there_is_no_scene():
    with pytest.raises(NotPossibleError, match="no room to stand in"):
        make("scene", rooms=())


@pytest.mark.parametrize("kind", ["crop", "ground", "scene"])
def test_what_cannot_be_cut_out_is_left(kind):
    with pytest.raises(NotPossibleError, match="cannot be told from the ground"):
        make(kind, photo())


def test_geometry_keeps_the_product_whole_and_the_ground_plain():
    for seed in SEEDS:
        image = make("geometry", seed=seed).image
        assert plain_ground(image) == (255, 255, 255)
        assert 0.55 < share(image, (255, 0, 0)) / share(packshot(), (255, 0, 0)) < 0.85


def dark_side(image: Image.Image) -> str:
    columns = np.flatnonzero((np.asarray(image).max(axis=2) < 60).any(axis=0))
    reds = np.flatnonzero((np.asarray(image)[..., 0] > 200) & (np.asarray(image)[..., 1] < 60)) % image.width
    return "left" if columns.mean() < reds.mean() else "right"


@pytest.mark.parametrize(("image", "box"), [(packshot(), None), (photo(), PLACE)])
def test_a_product_with_a_side_in_its_words_is_never_mirrored(image, box):
    sides = {
        sided: {
            dark_side(made.image if made.box is None else made.image.crop(tuple(map(round, made.box))))
            for seed in SEEDS
            for made in [make("geometry", image, box, sided, seed)]
        }
        for sided in (True, False)
    }
    assert sides == {True: {"left"}, False: {"left", "right"}}


@pytest.mark.parametrize(
    ("item", "sided"),
    [
        (Item("1", "Corner sofa, left"), True),
        (Item("1", "Ecksofa", attributes={"Ausrichtung": ("rechts",)}), True),
        (Item("1", "沙发 左"), True),
        (Item("1", "Bright leftover tray"), False),
    ],
)
def test_sides_are_told_by_words(item, sided):
    assert is_sided(item) is sided


def test_light_never_takes_one_named_colour_for_another():
    centres = lab(np.array(list(NAMED.values())) / 255)
    for place, colour in enumerate(NAMED.values()):
        for seed in SEEDS:
            shown = make("light", Image.new("RGB", (8, 8), colour), seed=seed).image.getpixel((4, 4))
            assert shown != colour
            assert np.linalg.norm(centres - lab(np.array(shown) / 255), axis=1).argmin() == place


def test_light_does_not_lose_a_white_product_in_its_white_ground():
    image = Image.new("RGB", (64, 64), "white")
    image.paste((244, 244, 244), (16, 16, 48, 48))
    for seed in SEEDS:
        pixels = np.asarray(make("light", image, seed=seed).image, dtype=int)
        assert (pixels[0, 0] - pixels[32, 32]).min() >= 9
