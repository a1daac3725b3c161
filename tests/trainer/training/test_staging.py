from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.errors import BadInputError
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.record import Item, Picture, Record
from trainer.training.staging import SCENES, Scenes

BOX = (10.0, 20.0, 60.0, 80.0)
ITEMS = [
    Item("a", "A", (Picture("white0.jpg"), Picture("white1.jpg"))),
    Item("b", "B", (Picture("grey.jpg"),)),
    Item("c", "C", (Picture("gone.jpg"),)),
    Item("d", "D"),
]
RECORDS = [
    Record("a", picture=Picture("p.jpg", BOX)),
    Record("a", picture=Picture("shared.jpg")),
    Record("b", picture=Picture("shared.jpg")),
    Record("c", "the same in red", Picture("wish.jpg", BOX), modalities=("both",)),
    Record("b", picture=Picture("test.jpg", BOX), split="test"),
]


def read(location: str) -> Image.Image:
    if location == "gone.jpg":
        raise BadInputError("gone.jpg: no picture")
    image = Image.new("RGB", (120, 100), "white" if location.startswith("white") else "grey")
    ImageDraw.Draw(image).rectangle((30, 30, 80, 70), fill="red")
    return image


@pytest.fixture
def scenes(tmp_path) -> Scenes:
    with CorpusWriter(tmp_path / "test", {"name": "test", "format": "shop"}) as writer:
        writer.add_catalog(ITEMS)
        for record in RECORDS:
            writer.add(record)
    corpus = Corpus(tmp_path / "test")
    return Scenes(corpus, corpus.rows_of("train"), lambda picture, _: picture.box, read)


def test_rooms_are_boxed_pictures_that_are_queries_by_themselves(scenes):
    assert scenes.rooms == [Picture("p.jpg", BOX)]


def test_a_picture_shows_what_it_alone_is_a_query_for(scenes):
    found = {name: scenes.shown(f"{name}.jpg") for name in ("p", "shared", "wish", "test")}
    assert found == {"p": 0, "shared": None, "wish": None, "test": None}


def test_only_products_that_can_be_cut_out_have_scenes(scenes):
    assert [scenes.draw(item, random.Random(0)) is not None for item in range(4)] == [True, False, False, False]
    assert {view.location for view in scenes.of(np.arange(4))} <= {"white0.jpg", "white1.jpg"}
    assert list(scenes.of(np.arange(4))) == list(scenes.of(np.arange(4)))


def test_a_scene_is_one_of_few_whoever_draws_it(scenes):
    drawn = {scenes.draw(0, random.Random(seed)) for seed in range(50)}
    assert len(drawn) == 2 * SCENES
    assert {view.box for view in drawn} == {None}
