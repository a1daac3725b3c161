"""Many products at once, in Chromium: photos above the size of one request, a folder, a table, and the download."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from threading import Event

import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.ui.driving import PHOTO, OpenPage
from ui import batch

pytestmark = pytest.mark.browser

UPLOADS = "**/gradio_api/upload*"


@pytest.fixture
def page(open_page: OpenPage, shop_url: str) -> Page:
    page = open_page(shop_url)
    page.get_by_role("tab", name="Understand").click()
    page.get_by_text("Many products at once").click()
    return page


def choose(page: Page, files: list[Path]) -> None:
    page.get_by_label("Choose tables or photos").set_input_files(files)


def choose_folder(page: Page, folder: Path) -> None:
    page.get_by_label("Choose a folder").set_input_files(folder)


def download(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download as CSV").click()
    return list(csv.DictReader(io.StringIO(downloaded.value.path().read_text(encoding="utf-8-sig"))))


def wait_until(page: Page, is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        page.wait_for_timeout(20)
    pytest.fail("it never came")


def heavy_photo(file: Path, size: int) -> Path:
    """A small picture with so many bytes behind it, which decoders do not read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), "red").save(file, "JPEG")
    with file.open("ab") as end:
        end.truncate(size)
    return file


def test_the_columns_of_tables_come_back_with_their_predictions(page: Page, tmp_path: Path):
    shop = tmp_path / "shop.csv"
    shop.write_text("sku,title,colour\nA-007,Purple skirt,\nA-008,=1+1,grün\n", encoding="utf-8")
    parquet = tmp_path / "shop.parquet"
    pl.DataFrame({"id": [41], "name": ["Green armchair"]}).write_parquet(parquet)
    choose(page, [shop, parquet, PHOTO])
    rows = download(page)
    assert [row["item"] for row in rows] == [PHOTO.name, "shop.csv, row 1", "shop.csv, row 2", "shop.parquet, row 1"]
    assert [row["sku"] for row in rows] == ["", "A-007", "A-008", ""]
    assert [row["id"] for row in rows] == ["", "", "", "41"]
    assert [row["title"] for row in rows] == ["", "Purple skirt", "'=1+1", ""]
    assert [row["colour"] for row in rows] == ["", "", "grün", ""]
    assert all(row["category.1"] and row["category.1 probability"] for row in rows)


def test_photos_that_are_together_far_above_the_size_of_one_request(page: Page, tmp_path: Path):
    photos = [heavy_photo(tmp_path / f"{number}.jpg", 3_000_000) for number in range(1, 13)]
    choose(page, photos)
    rows = download(page)
    assert [row["item"] for row in rows] == [f"{number}.jpg" for number in range(1, 13)]
    assert [row["problem"] for row in rows] == [""] * 12
    assert all(row["category.1"] for row in rows)


def test_a_folder_gives_its_photos_and_counts_what_it_leaves_out(page: Page, tmp_path: Path):
    shop = tmp_path / "new products"
    heavy_photo(shop / "chair.jpg", 1000)
    heavy_photo(shop / "bed 10" / "front.jpg", 1000)
    heavy_photo(shop / "bed 9" / "front.jpg", 1000)
    heavy_photo(shop / "huge.jpg", 20_000_001)
    (shop / "broken.png").write_bytes(b"no picture")
    (shop / "README.txt").write_text("Photos of the\nnew products\nof spring\n")
    for other in (".DS_Store", "._chair.jpg", "film.mp4"):
        (shop / other).write_bytes(b"x")
    choose_folder(page, shop)
    rows = download(page)
    problems = {row["item"]: row["problem"] for row in rows}
    assert list(problems) == ["bed 9/front.jpg", "bed 10/front.jpg", "broken.png", "chair.jpg", "README.txt"]
    assert "not a picture" in problems["broken.png"]
    assert "no column with a title" in problems["README.txt"]
    assert [bool(row["category.1"]) for row in rows] == [True, True, False, True, False]
    expect(page.locator(".left-out")).to_contain_text(re.compile("^Left out: 4. .* larger than 20 MB"))


def test_a_folder_without_photos_and_tables_is_said_so(page: Page, tmp_path: Path):
    (tmp_path / "film.mp4").write_bytes(b"x")
    choose_folder(page, tmp_path)
    expect(page.locator(".left-out")).to_contain_text("Left out: 1.")
    expect(page.locator("#batch-table")).to_contain_text("There is no file")
    expect(page.get_by_label("Choose a folder")).to_be_enabled()


def test_a_file_that_does_not_get_through_costs_only_itself(page: Page, tmp_path: Path):
    def lose(route: Route) -> None:
        if b"2.jpg" in (route.request.post_data_buffer or b""):
            route.abort()
        else:
            route.continue_()

    page.route(UPLOADS, lose)
    choose(page, [heavy_photo(tmp_path / f"{number}.jpg", 1000) for number in (1, 2, 3)])
    assert [row["item"] for row in download(page)] == ["1.jpg", "3.jpg"]
    expect(page.locator(".left-out")).to_contain_text("Left out: 1.")


def test_bars_show_how_far_upload_and_predictions_are(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    held: list[Route] = []
    page.route(UPLOADS, lambda route: held.append(route))
    choose(page, [heavy_photo(tmp_path / f"{number}.jpg", 1000) for number in range(1, 4)])
    uploaded = page.get_by_role("progressbar", name="Uploaded")
    expect(uploaded).to_be_visible()
    expect(page.locator(".uploaded")).to_contain_text("0 of 3 uploaded")
    expect(page.get_by_label("Choose a folder")).to_be_disabled()
    wait_until(page, lambda: len(held) == 3)
    held.pop(0).continue_()
    expect(page.locator(".uploaded")).to_contain_text("1 of 3 uploaded")
    assert uploaded.evaluate("bar => bar.value / bar.max") == pytest.approx(1 / 3)

    seen = Event()
    predicted = batch._predicted
    monkeypatch.setattr(batch, "_predicted", lambda *asked: seen.wait() and predicted(*asked))
    for request in held:
        request.continue_()
    expect(page.get_by_role("progressbar", name="Predicted")).to_be_visible()
    expect(page.locator("#batch-table .progress")).to_contain_text("0 of 3")
    expect(uploaded).to_be_hidden()
    seen.set()
    assert len(download(page)) == 3
