"""All products in a photo, with an embedder that sees the largest patch of a colour, as a detector of one box does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.detection import AT_ONCE, OTHERS, SIDE, WINDOWS, products_in, reduced
from app.moon.crops import usable_box
from tests.conftest import ColourWordEmbedder

SIZE = (300, 200)


class Largest(ColourWordEmbedder):
    """Finds the largest patch of one colour on black, none on bare ground; what is cut off counts less. Pads boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def embed_queries(self, queries):
        self.calls.append(len(queries))
        found = [largest(query.image) for query in queries]
        padded = [box and usable_box(box, *query.image.size) for box, query in zip(found, queries, strict=True)]
        return super().embed_queries(queries)[0], padded


def largest(image: Image.Image) -> tuple[float, float, float, float] | None:
    pixels = np.asarray(image).astype(int) @ (1, 256, 65536)
    best, most = None, 0.0
    for colour in sorted({*pixels.flat} - {0}):
        rows, columns = np.nonzero(pixels == colour)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        cut_off = 0 in box[:2] or box[2] == image.width or box[3] == image.height
        size = len(rows) / (4 if cut_off else 1)
        if size > most:
            best, most = tuple(map(float, box)), size
    return best


def photo(*boxes: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", SIZE)
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        ImageDraw.Draw(image).rectangle((x0, y0, x1 - 1, y1 - 1), fill=(25 * number, 255 - 25 * number, 9))
    return image


LARGE, LEFT, RIGHT = (120, 70, 180, 130), (20, 20, 65, 75), (230, 130, 280, 180)


def test_the_core_product_comes_first_and_the_others_once_each():
    found = products_in(Largest(), photo(LARGE, LEFT, RIGHT))
    assert found[0] == pytest.approx(LARGE)
    assert sorted(found[1:]) == [pytest.approx(LEFT), pytest.approx(RIGHT)]


def test_a_product_alone_is_found_once_though_windows_cut_it_off():
    assert products_in(Largest(), photo(LARGE)) == [pytest.approx(LARGE)]


def test_a_part_of_a_product_is_none():
    handle = (140, 80, 160, 100)  # its own colour, inside the core product's box
    assert products_in(Largest(), photo(LARGE, handle)) == [pytest.approx(LARGE)]


def test_products_at_the_edge_of_the_photo_are_not_cut_off():
    corner = (0, 140, 70, 200)
    assert products_in(Largest(), photo(LARGE, corner)) == [pytest.approx(LARGE), pytest.approx(corner)]


def test_no_more_than_a_few_are_answered():
    small = [(x, y, x + 30, y + 30) for x in (4, 70, 196, 262) for y in (4, 165)]
    found = products_in(Largest(), photo(LARGE, *small))
    assert len(found) == 1 + OTHERS
    assert {tuple(map(round, box)) for box in found[1:]} <= set(small)


def test_bare_ground_is_looked_at_once():
    embedder = Largest()
    assert products_in(embedder, photo()) == []
    assert embedder.calls == [1]


def test_others_queries_get_their_turn_between_windows():
    embedder = Largest()
    products_in(embedder, photo(LARGE))
    assert sum(embedder.calls) == 1 + WINDOWS**2
    assert max(embedder.calls) <= AT_ONCE


def test_every_box_can_be_searched_with():
    small = (40, 40, 62, 61)  # under 1 % of the photo, over that of a window
    (core,) = products_in(Largest(), photo(LARGE, small))
    assert usable_box(core, *SIZE) == pytest.approx(usable_box(LARGE, *SIZE))


def test_a_large_photo_is_looked_at_in_small():
    small = reduced(Image.new("RGB", (4096, 512)))
    assert small.size == (SIDE, 128)
    assert reduced(small) is small
    assert reduced(Image.new("RGB", (9000, 2))).size == (SIDE, 1)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (400, 3)])
def test_tiny_photos_have_none(size):
    assert products_in(Largest(), Image.new("RGB", size, "red")) == []
