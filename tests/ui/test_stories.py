"""What a shopper comes for, with the starter model and a part of the demo catalog: every answer is a product.

The photo is of the test split: the model was not trained on that design.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from typer.testing import CliRunner

from app.api import create_api
from app.moon.boxes import iou
from app.serving import Service
from app.settings import Settings
from indexer.cli import cli
from tests.served import served
from tests.ui.driving import DESKTOP, PHONE, OpenPage, heading, unfold_filters, words
from tests.ui.sample_shop import DEMO
from tests.ui.take_screenshots import PICTURES, take
from ui.page import mount

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHAIR = "bs0-plasticchair-c1"
BLUE_CHAIR = "bs0-plasticchair-c0"
PHOTO = f"photos/{CHAIR}_p0.webp"
"""The green chair between a kitchen cabinet and a blue bucket."""
SHELVES = pl.col("category").list.get(1).is_in(["Chairs", "Armchairs", "Lamps", "Outdoor lights"])
OTHERS_EVERY = 18
PICTURED = "bs0-bed2-c1"
"""Opened on a picture of the documents."""

everywhere = pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone in the dark"])


@pytest.fixture(scope="module")
def catalog() -> pl.DataFrame:
    """Chairs and lamps of the test split, in all colours, among some of everything else."""
    whole = pl.read_parquet(DEMO / "catalog.parquet")
    wanted = whole.filter(SHELVES & (pl.col("split") == "test"))
    pictures = pl.col("images").list.eval(pl.format("{}/{}", pl.lit(str(DEMO)), pl.element()))
    pictured = whole.filter(pl.col("id") == PICTURED)
    part = pl.concat([wanted, whole.gather_every(OTHERS_EVERY), pictured]).unique("id", maintain_order=True)
    return part.with_columns(pictures)


@pytest.fixture(scope="module")
def url(catalog: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page over that catalog, indexed and served as its commands do."""
    folder = tmp_path_factory.mktemp("stories")
    catalog.write_parquet(folder / "catalog.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOON_DATA", str(folder / "data"))
        rebuilt = CliRunner().invoke(cli, ["rebuild", str(folder / "catalog.parquet")], catch_exceptions=False)
        assert rebuilt.exit_code == 0, rebuilt.output
        service = Service.from_settings(Settings())
    service.start()
    with served(mount(create_api(service), service)) as address:
        yield f"{address}/"
    service.close()


def product_ids(cards: Locator) -> list[str]:
    return [parse_qs(urlsplit(card.get_attribute("href") or "").query)["product"][0] for card in cards.all()]


def found(page: Page) -> list[str]:
    return product_ids(page.locator("#results .card"))


def colours(catalog: pl.DataFrame, product: str) -> list[str]:
    return catalog.row(by_predicate=pl.col("id") == product, named=True)["attributes"]["color"]


def category(catalog: pl.DataFrame, product: str) -> list[str]:
    return catalog.row(by_predicate=pl.col("id") == product, named=True)["category"]


def with_photo(open_page: OpenPage, url: str, window: dict[str, Any]) -> Page:
    page = open_page(url, **window)
    page.locator("#ask input[type=file]").set_input_files(DEMO / PHOTO)
    expect(heading(page)).to_contain_text("your photo")
    return page


def frame(page: Page) -> list[float]:
    """Left, top, right and bottom of the frame in parts of the photo."""
    style = page.locator(".frame").get_attribute("style") or ""
    left, top, width, height = (float(part) / 100 for part in re.findall(r"([\d.]+)%", style))
    return [left, top, left + width, top + height]


def product_in(photo: str) -> list[float]:
    """Where the product really is, likewise."""
    row = pl.read_parquet(DEMO / "photos.parquet").row(by_predicate=pl.col("path") == photo, named=True)
    with Image.open(DEMO / photo) as picture:
        return [side / picture.size[place % 2] for place, side in enumerate(row["box"])]


@everywhere
def test_a_red_lamp_is_found_by_typing(open_page: OpenPage, url: str, window: dict[str, Any], catalog: pl.DataFrame):
    page = open_page(url, **window)
    words(page).press_sequentially("red lamp")
    expect(heading(page)).to_contain_text("matches for red lamp")
    best = found(page)[:2]
    assert all("red" in colours(catalog, product) for product in best)
    assert all(category(catalog, product)[0] == "Lighting" for product in best)


@everywhere
def test_a_product_is_found_in_a_customer_photo(open_page: OpenPage, url: str, window: dict[str, Any]):
    page = with_photo(open_page, url, window)
    assert iou(torch.tensor([frame(page)]), torch.tensor([product_in(PHOTO)])).item() > 0.5
    assert found(page)[0] == CHAIR


@everywhere
def test_the_same_is_found_in_blue(open_page: OpenPage, url: str, window: dict[str, Any]):
    page = with_photo(open_page, url, window)
    words(page).fill("in blue")
    expect(heading(page)).to_contain_text("in blue and your photo")
    assert found(page)[0] == BLUE_CHAIR


@everywhere
def test_its_category_is_predicted(open_page: OpenPage, url: str, window: dict[str, Any], catalog: pl.DataFrame):
    page = open_page(url, **window)
    page.get_by_role("tab", name="Understand").click()
    page.locator("#understand input[type=file]").set_input_files(DEMO / PHOTO)
    page.get_by_label("Product title").fill("Chair")
    page.get_by_role("button", name="Predict", exact=True).click()
    levels = page.locator(".bars").filter(has_text="Category, level")
    expect(levels.first).to_be_visible()
    best = [level.locator(".bar-label").first.inner_text() for level in levels.all()]
    assert best == category(catalog, CHAIR)


@everywhere
def test_a_category_leaves_only_its_products(
    open_page: OpenPage, url: str, window: dict[str, Any], catalog: pl.DataFrame
):
    page = open_page(f"{url}?q=blue", **window)
    expect(heading(page)).to_contain_text("matches for blue")
    wanted = category(catalog, BLUE_CHAIR)[0]
    assert {category(catalog, product)[0] for product in found(page)} > {wanted}
    unfold_filters(page)
    page.locator('[data-facet="category"] .value').filter(has_text=wanted).click()
    expect(page.locator(".chip")).to_contain_text(wanted)
    assert {category(catalog, product)[0] for product in found(page)} == {wanted}


def test_a_shared_link_shows_the_same_in_another_window(open_page: OpenPage, url: str):
    page = open_page(f"{url}?like={CHAIR}&category=Furniture", **DESKTOP)
    words(page).fill("in blue")
    expect(heading(page)).to_contain_text("in blue and this product")
    shown = found(page)
    assert shown[0] == BLUE_CHAIR
    other = open_page(page.url, **PHONE)
    expect(heading(other)).to_contain_text("in blue and this product")
    assert found(other) == shown


@everywhere
def test_from_a_photo_to_its_blue_sister_within_the_predicted_category_and_shared(
    open_page: OpenPage, url: str, window: dict[str, Any], catalog: pl.DataFrame
):
    page = with_photo(open_page, url, window)
    assert found(page)[0] == CHAIR
    page.locator("#results li").first.get_by_text("This, but").click()
    words(page).fill("in blue")
    expect(heading(page)).to_contain_text("in blue and this product")
    assert found(page)[0] == BLUE_CHAIR
    page.get_by_role("tab", name="Understand").click()
    page.locator("#understand input[type=file]").set_input_files(DEMO / PHOTO)
    page.get_by_role("button", name="Predict", exact=True).click()
    best = page.locator(".bars").first.get_by_role("link").first
    wanted = category(catalog, CHAIR)[0]
    expect(best).to_have_text(wanted)
    best.click()
    expect(page.locator(".chip")).to_contain_text(wanted)
    expect(heading(page)).to_contain_text("in blue and this product")
    shown = found(page)
    assert shown[0] == BLUE_CHAIR
    assert {category(catalog, product)[0] for product in shown} == {wanted}
    other = open_page(page.url, **window)
    expect(other.locator(".chip")).to_contain_text(wanted)
    assert found(other) == shown


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_the_documents_can_be_taken(browser: Browser, url: str, name: str, tmp_path: Path):
    with Image.open(take(browser, url, name, tmp_path)) as picture:
        assert picture.size[0] == PICTURES[name][1]["viewport"]["width"]
        assert len(picture.convert("L").getcolors() or ()) > 50
