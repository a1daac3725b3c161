"""Photos of two products, as benchmarks/several.py makes them."""

from __future__ import annotations

import random

import pytest
from PIL import Image, ImageDraw
from several import COVERED, covered, paired, wrong

from trainer.data.scenes import cut_out

ROOM = (40.0, 60.0, 120.0, 180.0)


@pytest.fixture(scope="module")
def chair():
    packshot = Image.new("RGB", (100, 100), "white")
    ImageDraw.Draw(packshot).rectangle((30, 20, 69, 79), fill=(200, 0, 0))
    return cut_out(packshot)


def test_a_second_product_stands_beside_the_first_and_its_box_is_known(chair):
    for seed in range(20):
        photo, boxes = paired(Image.new("RGB", (320, 240), (60, 90, 60)), [ROOM], chair, random.Random(seed))
        assert boxes[0] == ROOM
        x0, y0, x1, y1 = boxes[1]
        red, green, _ = photo.resize((1, 1), box=(x0 + 4, y0 + 4, x1 - 4, y1 - 4)).getpixel((0, 0))
        assert red > 2 * green
        assert covered(boxes[1], ROOM) <= COVERED


def test_a_room_without_space_gets_no_second_product(chair):
    assert paired(Image.new("RGB", (320, 240)), [(0.0, 0.0, 320.0, 240.0)], chair, random.Random(0)) is None


def test_boxes_of_neither_product_are_counted():
    photo = Image.new("RGB", (10, 10)), [(0.0, 0.0, 4.0, 4.0), (6.0, 6.0, 10.0, 10.0)]
    assert wrong([(0, 0, 4, 3), (6, 6, 10, 10), (4, 4, 6, 6)], photo) == 1
