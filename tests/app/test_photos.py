"""Photos of shoppers wait for room in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from gated import GatedEmbedder
from shop_samples import picture

from app.api import create_api
from app.errors import BadInputError, OverloadedError
from app.facade import MoonSearch, Unread
from app.images import decode_image
from app.serving import Service
from app.settings import Settings

SIZE = (2000, 1000)
PIXELS = SIZE[0] * SIZE[1]
LARGE = picture("red", size=SIZE)


@pytest.fixture
def opened(published: Service) -> Iterator[Callable[..., Service]]:
    """A service over the published shop with other settings, and another embedder where a test brings one."""
    services = []

    def build(embedder=None, **values: object) -> Service:
        settings = Settings(_env_file=None, data=published.settings.data, **values)
        services.append(Service(settings, embedder or published.embedder, published.store))
        return services[-1]

    yield build
    for service in services:
        service.close()


@pytest.fixture
def gated() -> Iterator[GatedEmbedder]:
    embedder = GatedEmbedder()
    yield embedder
    embedder.gate.set()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the photos that were decoded."""
    names = []

    def decode(data: bytes, *, name: str, **limits: int):
        names.append(name)
        return decode_image(data, name=name, **limits)

    monkeypatch.setattr("app.photos.decode_image", decode)
    return names


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_of_many_large_photos_at_once_no_more_are_decoded_than_there_is_room_for(opened, gated, decoded):
    service = opened(gated, max_pixels_in_work=2 * PIXELS + 1, max_wait_ms=30_000)
    shop = MoonSearch(service=service)
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(shop.search, photo=LARGE) for _ in range(8)]
        until(lambda: len(service.photos.waiting) == 6)
        in_work = len(decoded)
        gated.gate.set()
        found = [answer.result().hits[0].product.attributes["color"] for answer in answers]
    assert in_work == 2
    assert (found, len(decoded)) == ([["red"]] * 8, 8)


def test_a_photo_that_would_wait_too_long_is_refused_and_others_are_answered(opened, gated):
    client = TestClient(create_api(opened(gated, max_pixels_in_work=PIXELS, max_wait_ms=2000)))
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(client.post, "/api/v1/search", files={"image": LARGE})
        assert gated.entered.wait(10)
        refused = client.post("/api/v1/search", files={"image": LARGE})
        gated.gate.set()
        assert first.result().status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "large photos" in refused.json()["detail"]
    assert client.post("/api/v1/search", files={"image": LARGE}).status_code == 200


def test_a_photo_that_cannot_be_used_keeps_no_room(opened):
    shop = MoonSearch(service=opened(max_pixels_in_work=PIXELS))
    for _ in range(2):
        with pytest.raises(BadInputError, match="damaged"):
            shop.search(photo=LARGE[: len(LARGE) // 2])
        with pytest.raises(BadInputError, match="marks nothing"):
            shop.search(photo=LARGE, box=(5000, 5000, 6000, 6000))
    assert shop.search(photo=LARGE).hits


def test_a_photo_larger_than_the_room_is_alone_in_work(opened):
    service = opened(max_pixels_in_work=PIXELS // 2, max_wait_ms=2000)
    with service.photos.room(PIXELS), pytest.raises(OverloadedError), service.photos.room(1):
        pass
    assert MoonSearch(service=service).search(photo=LARGE).hits


def test_a_large_photo_is_not_overtaken(opened):
    photos = opened(max_pixels_in_work=PIXELS, max_wait_ms=30_000).photos
    order = []

    def enter(pixels: int) -> None:
        with photos.room(pixels):
            order.append(pixels)

    with ThreadPoolExecutor(2) as clients, photos.room(1):
        clients.submit(enter, PIXELS)
        until(lambda: len(photos.waiting) == 1)
        clients.submit(enter, 1)
        until(lambda: len(photos.waiting) == 2)
    assert order == [PIXELS, 1]


def test_several_products_take_room_one_batch_after_the_other(opened, decoded):
    service = opened(max_pixels_in_work=PIXELS, max_image_pixels=PIXELS)
    damaged = Unread(photo=LARGE[: len(LARGE) // 2])
    outcomes = MoonSearch(service=service).predict_many([Unread(photo=LARGE), damaged, Unread("chair"), Unread()])
    assert [isinstance(outcome, BadInputError) for outcome in outcomes] == [False, True, False, True]
    assert len(decoded) == 2
