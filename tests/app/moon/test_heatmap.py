from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.moon.heatmap import GRID, heatmaps
from app.schema import Query
from app.settings import Settings

OWN = [None]
"""What a picture's own vector is made of."""


def picture(colour: str, side: str = "left") -> Image.Image:
    """A disc on white, in the middle of one half."""
    image = Image.new("RGB", (256, 256), "white")
    left = 24 if side == "left" else 152
    ImageDraw.Draw(image).ellipse((left, 88, left + 80, 168), fill=colour)
    return image


def halves(heat: np.ndarray) -> tuple[float, float]:
    return float(heat[:, : GRID // 2].sum()), float(heat[:, GRID // 2 :].sum())


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_the_vector_is_made_of_lights_up(embedder, side):
    left, right = halves(heatmaps(embedder, picture("navy", side), OWN)[0])
    assert (left > 3 * right) if side == "left" else (right > 3 * left)


def test_a_query_lights_up_what_speaks_for_it_and_not_the_rest(embedder):
    image = picture("red")
    image.paste(picture("blue", "right").crop((128, 0, 256, 256)), (128, 0))
    red = embedder.embed_queries([Query(image=Image.new("RGB", (9, 9), "red"))])[0][0]
    left, right = halves(heatmaps(embedder, image, [red])[0])
    assert left > 3 * right


def test_a_picture_of_one_colour_has_no_warm_part(embedder):
    heat = heatmaps(embedder, Image.new("RGB", (90, 50), "teal"), OWN)[0]
    assert heat.shape == (GRID, GRID)
    assert heat.max() < 1e-6


def test_all_covered_pictures_are_cropped_where_the_whole_one_was(embedder):
    asked = []

    class Finder:
        def embed_queries(self, queries):
            asked.extend(queries)
            return embedder.embed_queries(queries)[0], [query.box or (10.0, 10.0, 60.0, 60.0) for query in queries]

    heatmaps(Finder(), picture("navy"), OWN)
    assert {query.box for query in asked[1:]} == {(10.0, 10.0, 60.0, 60.0)}


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_starter_looks_at_the_coloured_object(starter, side):
    left, right = halves(heatmaps(starter, picture("red", side), OWN)[0])
    assert (left > 3 * right) if side == "left" else (right > 3 * left)


@pytest.fixture(scope="module")
def starter():
    from app.moon import load_encoder

    return load_encoder(Settings())


def test_the_starter_looks_at_the_coloured_object_with_fewer_visual_tokens_too(starter, monkeypatch):
    monkeypatch.setattr(starter.module, "keep_visual_tokens", 0.25)
    left, right = halves(heatmaps(starter, picture("red"), OWN)[0])
    assert left > 3 * right
