"""A photo of the page counts among the photos in work as long as an answer needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from app import MoonSearch
from app.detection import WINDOWS
from app.serving import Service
from tests.ui.sample_shop import DEMO, BoxFindingEmbedder, demo_products, service
from ui.address import OWN_PHOTO, Address
from ui.batch import predict_all
from ui.compare import Comparing
from ui.shop import Shop
from ui.understand import Understanding
from ui.uploads import Upload

PHOTO = str(DEMO / "photos" / "bs0-couch-c0_p0.webp")
PRODUCT = demo_products()[0].id


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with room for a single photo, whatever its size."""
    running = service(tmp_path_factory.mktemp("full"), demo_products(), max_pixels_in_work=1)
    yield running
    running.close()


ANSWERS: dict[str, Callable[[Service], object]] = {
    "search": lambda service: Shop(service).search(Address(photo=OWN_PHOTO), PHOTO),
    "matched": lambda service: Shop(service).matched(Address(photo=OWN_PHOTO, product=PRODUCT), PHOTO),
    "predict": lambda service: Understanding(service).predict("", PHOTO),
    "look": lambda service: Understanding(service).look("chair", PHOTO),
    "compare": lambda service: Comparing(service).compare("", PHOTO, "FUSED ", "MEANING "),
    "batch": lambda service: list(predict_all(service, [Upload(PHOTO, "photo.webp")])),
}


SMALL: dict[str, Callable[[Service], object]] = {
    "outlines": lambda service: Shop(service).outlines(Address(photo=OWN_PHOTO), PHOTO),
    "detect": lambda service: MoonSearch(service=service).detect(PHOTO),
}
"""What needs a photo in small alone."""


@pytest.mark.parametrize("answer", SMALL.values(), ids=SMALL)
def test_a_photo_has_room_no_longer_than_it_is_needed_in_full(
    answer: Callable[[Service], object], full: Service, monkeypatch: pytest.MonkeyPatch
):
    looked: list[int] = []
    embed = BoxFindingEmbedder.embed_queries

    def with_another_photo(self: BoxFindingEmbedder, asked: Sequence) -> object:
        with full.photos.room(1):
            looked.append(len(asked))
        return embed(self, asked)

    monkeypatch.setattr(BoxFindingEmbedder, "embed_queries", with_another_photo)
    assert answer(full)
    assert sum(looked) == 1 + WINDOWS**2


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_photo_has_room_while_the_model_looks_at_it_and_none_afterwards(
    answer: Callable[[Service], object], full: Service, monkeypatch: pytest.MonkeyPatch
):
    rooms: list[int] = []
    looked: list[int] = []
    room = full.photos.room

    @contextmanager
    def counted(pixels: int) -> Iterator[None]:
        with room(pixels):
            rooms.append(pixels)
            yield
            rooms.remove(pixels)

    def watched(call: Callable) -> Callable:
        def embed(self: BoxFindingEmbedder, asked: Sequence, *images: Sequence):
            if any(images) or any(getattr(one, "image", None) for one in asked):
                looked.append(len(rooms))
            return call(self, asked, *images)

        return embed

    monkeypatch.setattr(full.photos, "room", counted)
    for name in ("embed_queries", "embed_products"):
        monkeypatch.setattr(BoxFindingEmbedder, name, watched(getattr(BoxFindingEmbedder, name)))
    assert 'role="alert"' not in str(answer(full))
    assert set(looked) == {1}
    assert rooms == []
