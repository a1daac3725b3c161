from __future__ import annotations

import dataclasses

import pytest
from colour_model import item, photo, tiny_shop
from PIL import Image

from app.errors import BadInputError
from app.settings import Settings
from trainer.data.pictures import PictureStore
from trainer.data.record import Item, Picture, Record
from trainer.evaluation.contents import ContentReader


@pytest.fixture
def reader(tmp_path):
    return ContentReader(PictureStore(tmp_path / "cache", Settings(_env_file=None)).read)


def query(tmp_path, **own):
    corpus = tiny_shop(tmp_path, [Item("a", "one")], [Record("a", **own)])
    return corpus.record(0)


def test_views_of_a_product_show_what_they_say(reader, tmp_path):
    views = reader.product(item(tmp_path, "red", "chair"), unlabelled=True)
    shown = {name: (len(own.images), own.title, own.category, bool(own.attributes)) for name, own in views.items()}
    assert shown == {
        "image": (1, "", (), False),
        "text": (0, "red chair", ("Home", "chair"), True),
        "both": (1, "red chair", ("Home", "chair"), True),
        "unlabelled": (1, "red chair", (), False),
    }


def test_a_product_that_is_not_classified_has_no_unlabelled_view(reader, tmp_path):
    assert "unlabelled" not in reader.product(item(tmp_path, "red", "chair"), unlabelled=False)


def test_of_a_product_with_a_broken_picture_the_words_are_left(reader, tmp_path):
    broken = dataclasses.replace(item(tmp_path, "red", "chair"), pictures=(Picture(str(tmp_path / "gone.png")),))
    views = reader.product(broken, unlabelled=True)
    assert {name: len(own.images) for name, own in views.items()} == {"text": 0, "both": 0, "unlabelled": 0}
    assert list(reader.broken) == [str(tmp_path / "gone.png")]
    assert "the picture cannot be read" in reader.broken[str(tmp_path / "gone.png")]


def test_a_product_with_nothing_left_has_no_view(reader, tmp_path):
    assert reader.product(Item("a", pictures=(Picture(str(tmp_path / "gone.png")),)), unlabelled=True) == {}


def test_a_query_has_the_modalities_that_it_is_for(reader, tmp_path):
    picture = photo(tmp_path, "photo", "red")
    views = reader.query(query(tmp_path, text="in blue", picture=picture, modalities=("both",)))
    assert {name: (len(own.images), own.title) for name, own in views.items()} == {"both": (1, "in blue")}


def test_the_picture_of_a_query_for_text_alone_is_not_read(tmp_path):
    def refuse(location: str) -> Image.Image:
        raise AssertionError(location)

    views = ContentReader(refuse).query(query(tmp_path, text="x", picture=Picture("a.png"), modalities=("text",)))
    assert list(views) == ["text"]


def test_words_stand_for_both_where_the_picture_of_a_query_is_broken(reader, tmp_path):
    views = reader.query(query(tmp_path, text="chair", picture=Picture(str(tmp_path / "gone.png"))))
    assert {name: (len(own.images), own.title) for name, own in views.items()} == {
        "text": (0, "chair"),
        "both": (0, "chair"),
    }


def test_the_box_of_the_data_becomes_the_crop(reader, tmp_path):
    views = reader.query(query(tmp_path, picture=photo(tmp_path, "photo", "red")))
    (crop,) = views["image"].crops
    assert crop.getpixel((2, 2)) == (255, 0, 0)
    assert crop.width < 16


def test_a_box_follows_a_picture_that_was_made_smaller(reader, tmp_path):
    Image.new("RGB", (2048, 512), "red").save(tmp_path / "large.png")
    views = reader.query(query(tmp_path, picture=Picture(str(tmp_path / "large.png"), (1024.0, 0.0, 2048.0, 512.0))))
    assert views["image"].images[0].size == (1024, 256)
    assert views["image"].crops[0].width == pytest.approx(512, rel=0.06)


def test_a_box_of_the_whole_picture_means_no_crop(reader, tmp_path):
    picture = dataclasses.replace(photo(tmp_path, "photo", "red"), box=(0.0, 0.0, 40.0, 40.0))
    assert reader.query(query(tmp_path, picture=picture))["image"].crops == (None,)


def test_without_known_boxes_models_look_for_the_core_product(reader, tmp_path):
    assert reader.product(item(tmp_path, "red", "chair"), unlabelled=False)["image"].crops == ()


def test_boxes_of_a_detector_are_used_and_what_it_did_not_find_is_not_cropped(tmp_path):
    asked = []
    store = PictureStore(tmp_path / "cache", Settings(_env_file=None))

    def find(picture, title):
        asked.append((picture.location, title))
        return (0.0, 0.0, 10.0, 10.0) if title == "chair" else None

    reader, plain = ContentReader(store.read, find), Picture(photo(tmp_path, "photo", "red").location)
    assert reader.query(query(tmp_path, text="chair", picture=plain))["both"].crops[0].getpixel((2, 2)) == (255, 0, 0)
    assert reader.query(query(tmp_path, text="x", picture=plain))["both"].crops == (None,)
    assert asked == [(plain.location, "chair"), (plain.location, "x")]


def test_a_store_that_fails_otherwise_is_a_bug_and_not_hidden(tmp_path):
    def fail(location: str) -> Image.Image:
        raise KeyError(location)

    with pytest.raises(KeyError):
        ContentReader(fail).query(query(tmp_path, picture=Picture("a.png")))
    with pytest.raises(BadInputError):
        PictureStore(tmp_path, Settings(_env_file=None)).read(str(tmp_path / "gone.png"))
