from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from app.schema import Product
from trainer.data.home import Photo
from trainer.evaluation.wrong_photos import SIDE, WrongPhoto, caption_lines, contact_sheet, wrong_photos

PRODUCTS = [Product(id=f"p{row}", title=f"Lamp {row}", images=[f"{row}.png"]) for row in range(3)]


def photo(number: int, product: int) -> Photo:
    return Photo(f"photo-{number}.png", f"p{product}", f"g{product}", "test", (10.0, 20.0, 60.0, 80.0), True)


def chosen(found: list[int], right: list[set[int]], shown: int = 10) -> list[WrongPhoto]:
    photos = [photo(number, min(wanted)) for number, wanted in enumerate(right)]
    return wrong_photos(photos, np.array(found)[:, None], right, PRODUCTS, shown)


def test_another_sku_of_the_right_model_is_not_wrong():
    assert chosen([1, 2, 0], [{0, 1}, {0, 1}, {0}]) == [
        WrongPhoto("photo-1.png", (10.0, 20.0, 60.0, 80.0), product_id="p0", found_id="p2")
    ]


def test_examples_are_spread_evenly_in_the_photos_order():
    examples = chosen([1, *[0] * 4, *[1] * 8], [{0}] * 13, shown=4)
    assert [example.photo for example in examples] == [f"photo-{number}.png" for number in (0, 7, 9, 12)]


def test_a_model_without_errors_has_no_examples():
    assert chosen([0, 0], [{0}, {0}]) == []
    with pytest.raises(ValueError, match="no examples"):
        contact_sheet([], PRODUCTS, lambda path: Image.new("RGB", (9, 9)))


def test_the_sheet_shows_photo_with_box_right_product_and_found_product():
    colours = {"photo-0.png": "grey", "0.png": "red", "1.png": "blue"}
    examples = chosen([1], [{0}])
    data = contact_sheet(examples, PRODUCTS, lambda path: Image.new("RGB", (100, 100), colours[path]))
    with Image.open(io.BytesIO(data)) as sheet:
        assert sheet.format == "WEBP"
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    middle = pixels[8 + SIDE // 2]
    for place, colour in enumerate([(128, 128, 128), (255, 0, 0), (0, 0, 255)]):
        np.testing.assert_allclose(middle[8 + place * (SIDE + 8) + SIDE // 2], colour, atol=12)
    left_side = middle[8 + round(0.1 * SIDE) : 8 + round(0.13 * SIDE)]
    assert (left_side[:, 0] - left_side[:, 1]).max() > 60


def test_a_product_without_a_picture_has_an_empty_place():
    bare = [PRODUCTS[0].model_copy(update={"images": []}), PRODUCTS[1]]
    assert contact_sheet(chosen([1], [{0}]), bare, lambda path: Image.new("RGB", (100, 100)))


def test_long_captions_end_with_dots_and_stay_in_their_width():
    font = ImageFont.load_default(14)
    lines = caption_lines("found: " + "Wide wooden wardrobe with three doors " * 4 + "x" * 90, font)
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    assert all(font.getlength(line) <= SIDE for line in [*lines, *caption_lines("x" * 90, font)])
    assert caption_lines("found: Red chair", font) == ["found: Red chair"]
