from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from app.settings import Settings
from trainer.augmentation.rooms import Rooms
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.pictures import PictureStore
from trainer.data.record import Item, Picture, Record, Split

BOX = (1.0, 1.0, 5.0, 5.0)


@pytest.fixture
def rooms(tmp_path):
    """Rooms of photos, given with the splits of the records that ask with them."""

    def make(*photos: tuple[Path, Split]) -> Rooms:
        with CorpusWriter(tmp_path / "data", {"name": "data", "format": "shop", "fingerprint": "f"}) as writer:
            writer.add_catalog([Item("1", "Chair")])
            for photo, split in photos:
                writer.add(Record("1", picture=Picture(str(photo), BOX), split=split))
        corpus = Corpus(tmp_path / "data")
        store = PictureStore(tmp_path / "cache", Settings())
        return Rooms(corpus, corpus.rows_of("train"), lambda picture, title: picture.box, store)

    return make


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    files = [tmp_path / f"{colour}.png" for colour in ("red", "green", "blue")]
    for file in files:
        Image.new("RGB", (8, 8), file.stem).save(file)
    return files


def locations(found: Rooms) -> list[str]:
    return [Path(photo.location).name for photo in found.photos]


def test_photos_of_training_records_are_rooms_but_for_those_that_held_out_records_ask_with_too(rooms, photos):
    red, green, blue = photos
    found = rooms((red, "train"), (green, "train"), (green, "test"), (blue, "dev"))
    assert locations(found) == ["red.png"]


def test_a_photo_is_a_room_until_it_is_held_out_or_another_one(rooms, photos):
    red, green, blue = photos
    first = rooms((red, "train"), (green, "train"))
    told = {Path(photo.location).name: first.told(photo) for photo in first.photos}
    assert all(map(first.hold, told.values()))
    second = rooms((red, "train"), (green, "test"), (blue, "train"))
    assert second.hold(told["red.png"])
    assert not second.hold(told["green.png"])
    shutil.copy(blue, red)
    third = rooms((red, "train"))
    assert not third.hold(told["red.png"])


def test_a_photo_that_has_moved_is_still_the_room(rooms, photos):
    first = rooms((photos[0], "train"))
    told = first.told(first.photos[0])
    moved = photos[0].rename(photos[0].with_name("moved.png"))
    assert rooms((moved, "train"), (photos[1], "train")).hold(told)
    assert not rooms((photos[1], "train")).hold(told)


def test_photos_that_cannot_be_read_are_the_same_as_no_other(rooms, tmp_path):
    found = rooms((tmp_path / "none.png", "train"), (tmp_path / "neither.png", "train"))
    assert not found.hold(found.told(found.photos[0]))
    assert not found.hold(("elsewhere.png", ""))
