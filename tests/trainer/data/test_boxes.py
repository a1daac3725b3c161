from __future__ import annotations

import multiprocessing
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import CatalogError
from app.moon.crops import usable_box
from app.settings import Settings
from trainer.data.boxes import BOXES, FOUND, ROW, BoxCache, BoxWriter, picture_key, stored_box
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.find_boxes import UNREADABLE, Found, find_boxes
from trainer.data.pictures import PictureStore, shown_box
from trainer.data.record import Item, Picture, Record

OWN = (1.0, 2.0, 30.0, 40.0)
INFO = {"corpus": "c", "detector": "d", "guided": False}


class Centre:
    """A detector of the middle of every picture, except of blue ones, that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, int], str]] = []

    def detect(self, images, titles):
        self.asked += [(image.size, title) for image, title in zip(images, titles, strict=True)]
        return [
            None
            if image.getpixel((0, 0)) == (0, 0, 255)
            else usable_box((image.width / 4, 0, image.width / 2, image.height), *image.size)
            for image in images
        ]


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    def saved(name: str, size: tuple[int, int], colour: str) -> Picture:
        Image.new("RGB", size, colour).save(tmp_path / name)
        return Picture(str(tmp_path / name))

    shared = saved("shared.png", (64, 64), "red")
    chair = Item("chair", "Chair", (shared, saved("large.png", (2048, 1024), "green")))
    lamp = Item("lamp", "Lamp", (shared, Picture(str(tmp_path / "gone.png"))))
    photo, owned = saved("photo.png", (80, 60), "grey"), Picture(saved("own.png", (50, 50), "grey").location, OWN)
    with CorpusWriter(tmp_path / "corpus", {"name": "test", "fingerprint": "c"}) as writer:
        writer.add_catalog([chair, lamp])
        writer.add(Record("chair", text="seat", picture=photo))
        writer.add(Record("lamp", picture=owned))
        writer.add(Record("lamp", picture=saved("packshot.png", (50, 50), "white")))
        writer.add(Record("lamp", picture=saved("blue.png", (50, 50), "blue")))
    return Corpus(tmp_path / "corpus")


def run(corpus: Corpus, tmp_path, detector, *, guided: bool = False, batch_size: int = 2, identity: str = "d") -> Found:
    store = PictureStore(tmp_path / "cache", Settings())
    options = {"guided": guided, "batch_size": batch_size, "track": lambda sequence, title: sequence}
    return find_boxes(corpus, detector, store, tmp_path / "boxes", identity, **options)


def test_every_picture_is_looked_at_once_and_counted(corpus, tmp_path):
    detector = Centre()
    found = run(corpus, tmp_path, detector)
    assert found == Found(own=1, box=3, plain=1, none=1, unreadable=1, earlier=0)
    assert sorted(size for size, _ in detector.asked) == [(50, 50), (64, 64), (80, 60), (1024, 512)]
    (line,) = (tmp_path / "boxes" / UNREADABLE).read_text().splitlines()
    assert line.startswith(f"{tmp_path}/gone.png: the picture cannot be read")
    assert len(BoxCache.open(tmp_path / "boxes")) == 5


def test_boxes_are_in_pixels_of_the_original_without_padding(corpus, tmp_path):
    run(corpus, tmp_path, Centre())
    cache = BoxCache.open(tmp_path / "boxes")
    large = corpus.item(0).pictures[1]
    assert cache.box(large) == pytest.approx((512, 0, 1024, 1024), abs=0.01)
    image = PictureStore(tmp_path / "cache", Settings()).read(large.location)
    (detected,) = Centre().detect([image], [""])
    assert usable_box(shown_box(cache.box(large), image), *image.size) == pytest.approx(detected, abs=0.01)


def test_the_box_of_the_data_comes_first_and_missing_ones_are_none(corpus, tmp_path):
    run(corpus, tmp_path, Centre())
    cache = BoxCache.open(tmp_path / "boxes")
    for row, expected in ((1, OWN), (2, None), (3, None)):
        assert cache.box(corpus.record(row).picture) == expected
    assert cache.box(Picture("/elsewhere.png")) is None
    assert cache.box(Picture("/elsewhere.png", OWN)) == OWN


def test_titles_matter_to_detectors_that_read_them_only(corpus, tmp_path):
    shared, photo = corpus.item(0).pictures[0], corpus.record(0).picture
    detector = Centre()
    assert run(corpus, tmp_path, detector, guided=True).box == 4
    assert sorted(title for size, title in detector.asked if size == (64, 64)) == ["Chair", "Lamp"]
    guided = BoxCache.open(tmp_path / "boxes")
    assert guided.box(shared, "Lamp") is not None
    assert guided.box(shared, "Sofa") is None
    assert guided.box(photo, "seat") is not None

    with BoxWriter(tmp_path / "other", INFO) as writer:
        writer.add({picture_key(shared, ""): (OWN, FOUND)})
    assert BoxCache.open(tmp_path / "other").box(shared, "any words") == OWN


def test_a_second_run_looks_at_what_is_new_and_at_what_was_unreadable(corpus, tmp_path):
    run(corpus, tmp_path, Centre())
    Image.new("RGB", (70, 70), "red").save(tmp_path / "gone.png")
    detector = Centre()
    found = run(corpus, tmp_path, detector)
    assert detector.asked == [((70, 70), "")]
    assert found == Found(own=1, box=4, plain=1, none=1, unreadable=0, earlier=5)
    assert (tmp_path / "boxes" / UNREADABLE).read_text() == ""


class Killed(Centre):
    def detect(self, images, titles):
        if len(self.asked) >= 2:
            os._exit(9)
        return super().detect(images, titles)


def test_a_run_that_was_killed_goes_on_where_it_was(corpus, tmp_path):
    arguments = {"batch_size": 1}
    child = multiprocessing.get_context("fork").Process(target=run, args=(corpus, tmp_path, Killed()), kwargs=arguments)
    child.start()
    child.join(30)
    assert child.exitcode == 9
    detector = Centre()
    found = run(corpus, tmp_path, detector, **arguments)
    assert found.earlier == 3
    assert found == Found(own=1, box=3, plain=1, none=1, unreadable=1, earlier=3)
    assert len(detector.asked) == 2


@pytest.mark.parametrize("damage", [b"half a row", bytes(3 * ROW.itemsize)])
def test_an_unfinished_write_is_cut_off(tmp_path, damage):
    with BoxWriter(tmp_path, INFO) as writer:
        writer.add({5: (OWN, FOUND)})
    with (tmp_path / BOXES).open("ab") as file:
        file.write(damage)
    assert len(BoxCache.open(tmp_path)) == 1
    with BoxWriter(tmp_path, INFO) as writer:
        assert writer.known.tolist() == [5]
        writer.add({4: (OWN, FOUND)})
    assert len(BoxCache.open(tmp_path)) == 2
    assert (tmp_path / BOXES).stat().st_size == 2 * ROW.itemsize


def test_boxes_of_another_data_set_or_detector_are_not_mixed(corpus, tmp_path):
    run(corpus, tmp_path, Centre())
    with pytest.raises(CatalogError, match="choose another folder"):
        run(corpus, tmp_path, Centre(), identity="another")


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    with BoxWriter(tmp_path, INFO), pytest.raises(CatalogError, match="another run"), BoxWriter(tmp_path, INFO):
        pass
    with BoxWriter(tmp_path, INFO) as writer:
        assert len(writer.known) == 0


def test_a_folder_without_boxes_says_how_to_make_them(tmp_path):
    with pytest.raises(CatalogError, match="trainer detect"):
        BoxCache.open(tmp_path)


def test_a_copy_for_another_process_knows_the_same_boxes(tmp_path):
    pictures = [Picture(f"/{number}.png") for number in range(1000)]
    with BoxWriter(tmp_path, INFO) as writer:
        boxes = {picture_key(one, ""): ((number, 0.0, number + 1, 2.0), FOUND) for number, one in enumerate(pictures)}
        writer.add(boxes)
    copy = pickle.loads(pickle.dumps(BoxCache.open(tmp_path)))  # noqa: S301
    assert [copy.box(one) for one in pictures] == [(n, 0.0, n + 1, 2.0) for n in range(1000)]


sides = st.floats(0, 1)


@settings(deadline=None)
@given(x=st.tuples(sides, sides), y=st.tuples(sides, sides), width=st.integers(20, 3000), height=st.integers(20, 3000))
def test_padding_a_stored_box_gives_the_detectors_box_again(x, y, width, height):
    box = min(x) * width, min(y) * height, max(x) * width, max(y) * height
    detected = usable_box(box, width, height)
    if detected is None:
        return
    again = usable_box(stored_box(detected, Image.new("1", (width, height))), width, height)
    share = (box[2] - box[0]) * (box[3] - box[1]) / (width * height)
    at_the_limits = not 0.011 < share < 0.85
    assert again == pytest.approx(detected, abs=1e-6) or (again is None and at_the_limits)


def test_boxes_of_another_data_set_are_refused(corpus, tmp_path):
    run(corpus, tmp_path, Centre())
    assert len(BoxCache.open(tmp_path / "boxes", corpus)) == 5
    corpus.info["fingerprint"] = "another"
    with pytest.raises(CatalogError, match="boxes of another data set than test; detect this one"):
        BoxCache.open(tmp_path / "boxes", corpus)
