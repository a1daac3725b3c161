"""Nothing that the page says names a folder of the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import IndexUnavailableError
from app.serving import Service
from tests.ui.sample_shop import DEMO, demo_products, service
from ui.address import Address
from ui.compare import Comparing
from ui.shop import Shop
from ui.status import status
from ui.understand import Understanding

PRODUCTS = demo_products(every=200)
ASKED = Address(words="chair", product=PRODUCTS[0].id)
PHOTO = str(DEMO / "photos" / "bs0-plasticchair-c1_p0.webp")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    running = service(tmp_path / "data", PRODUCTS)
    yield running
    running.close()


def everything_said(own: Service) -> list[str]:
    shop, comparing, understanding = Shop(own), Comparing(own), Understanding(own)
    return [
        *said(shop, ASKED),
        status(own),
        comparing.compare("chair", None, "FUSED ", "WORDS "),
        understanding.predict("chair", PHOTO),
        understanding.look("chair", PHOTO),
    ]


def said(shop: Shop, asked: Address) -> list[str]:
    found = shop.search(asked, None)
    alike = shop.search(replace(asked, like=asked.product), None)
    return [*found, *alike, shop.header(), shop.landing(), shop.product(asked), shop.matched(asked, None)]


@pytest.mark.parametrize("part", ["live.index", "embedder.embed_queries", "engine.search", "predictor.predict"])
def test_a_part_that_fails_keeps_its_folder_to_itself(own: Service, part: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise IndexUnavailableError(f"{own.settings.data}/builds: cannot be read")

    owner, _, name = part.partition(".")
    monkeypatch.setattr(getattr(own, owner), name, fail)
    monkeypatch.setattr(own.engine, "product", lambda _: PRODUCTS[0])
    answers = everything_said(own)
    assert any("MOON_DATA/builds: cannot be read" in answer for answer in answers)
    assert not any(str(own.settings.data) in answer for answer in answers)


def test_a_broken_store_does_not_show_its_folder_on_the_page(own: Service):
    (own.settings.data / "builds" / "CURRENT").write_text("20261121T060000-ffffff")
    answers = [*Shop(own).search(Address(words="chair"), None), Shop(own).landing(), status(own)]
    assert any("MOON_DATA" in answer for answer in answers)
    assert not any(str(own.settings.data) in answer for answer in answers)


def test_a_picture_that_cannot_be_read_keeps_its_place_to_itself(own: Service, monkeypatch: pytest.MonkeyPatch):
    hidden = PRODUCTS[0].model_copy(update={"images": ["/secret\0/chair.webp"]})
    monkeypatch.setattr(own.engine, "product", lambda _: hidden)
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    answers = said(Shop(own), ASKED)
    assert any("no picture of the product" in answer for answer in answers)
    assert not any("secret" in answer for answer in answers)
