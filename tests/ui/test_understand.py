"""The tab "Understand": predictions, heatmaps, and many products at once."""

from __future__ import annotations

import asyncio
import base64
import csv
import html
import io
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import gradio as gr
import numpy as np
import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app.errors import BadInputError
from app.serving import Service
from tests.ui.sample_shop import DEMO, HOSTILE_TITLES, service
from ui import batch, batch_files, batch_table, titles
from ui.seen import STRONGEST, core_product, overlay, warm_parts
from ui.understand import Understanding
from ui.uploads import uploads_only

PHOTO = DEMO / "photos" / "bs0-couch-c0_p0.webp"
CORNER = np.zeros((8, 8), dtype=np.float32)
CORNER[:2, 6:] = 0.4


@pytest.fixture
def understanding(shop_service: Service) -> Understanding:
    return Understanding(shop_service)


def predict_all(service: Service, *files: Path) -> list[dict[str, str]]:
    """The rows of the download."""
    shown = list(batch.predict_all(service, [str(file) for file in files]))[-1]
    data = re.search(r'href="data:text/csv;base64,([^"]+)"', shown)
    assert data
    return list(csv.DictReader(io.StringIO(base64.b64decode(data[1]).decode("utf-8-sig"))))


def table(folder: Path, *lines: str, name: str = "shop.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_a_photo_gets_bars_and_a_frame_around_its_core_product(understanding: Understanding):
    shown = understanding.predict("Green armchair", str(PHOTO))
    assert "Category, level 1" in shown
    assert 'alt="The product that was found in the photo"' in shown


def test_a_title_alone_gets_bars_without_a_frame(understanding: Understanding):
    shown = understanding.predict("Green armchair", None)
    assert "Category, level 1" in shown
    assert "<figure" not in shown


def test_a_photo_and_its_title_get_two_heatmaps(understanding: Understanding):
    assert understanding.look("Green armchair", str(PHOTO)).count("<figure") == 2
    assert understanding.look(" ", str(PHOTO)).count("<figure") == 1


def test_nothing_to_look_at_is_said_so(understanding: Understanding):
    assert 'role="alert"' in understanding.look("Green armchair", None)


def test_the_layer_is_opaque_where_it_is_warm_and_transparent_elsewhere():
    opacity = np.asarray(overlay(CORNER, (80, 40)))[..., 3] / 255
    assert opacity.shape == (40, 80)
    assert opacity[2, 77] == pytest.approx(STRONGEST, abs=0.01)
    assert opacity[20:, :40].max() == 0


def test_without_warmth_nothing_is_coloured():
    assert np.asarray(overlay(np.full((8, 8), 1e-7, dtype=np.float32), (16, 16)))[..., 3].max() == 0


def test_a_heatmap_says_in_words_where_it_is_warmest():
    assert 'alt="Looks &lt;b&gt;: warmest in the upper right"' in warm_parts(
        Image.new("RGB", (9, 9)), CORNER, "Looks <b>"
    )


def test_titles_of_a_table_and_photos_are_predicted_together(shop_service: Service, tmp_path: Path):
    titles = table(tmp_path, "id;Produktname;image", "1;Purple skirt;/etc/passwd", "2;Garden bench;http://127.0.0.1:9/")
    rows = predict_all(shop_service, titles, PHOTO)
    assert [row["item"] for row in rows] == ["shop.csv, row 1", "shop.csv, row 2", PHOTO.name]
    assert [row["title"] for row in rows] == ["Purple skirt", "Garden bench", ""]
    assert all(row["category.1"] and 0 <= float(row["category.1 probability"]) <= 1 for row in rows)


def test_a_bad_row_says_why_and_the_others_are_predicted(shop_service: Service, tmp_path: Path):
    lines = [
        '{"title": "Purple skirt"}',
        "{",
        '{"title": ["a", "b"]}',
        '{"title": " "}',
        '{"name": "Bench"}',
        '{"x": 1}',
    ]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    rows = predict_all(shop_service, table(tmp_path, *lines, name="shop.jsonl"), broken, table(tmp_path, name="a.exe"))
    reasons = [
        "",
        "not valid JSON",
        "a list",
        "empty",
        "",
        "no column with a title",
        "not a picture",
        "neither a photo",
    ]
    assert all(reason in row["problem"] for row, reason in zip(rows, reasons, strict=True))
    assert [bool(row["category.1"]) for row in rows] == [not reason for reason in reasons]


def test_a_table_that_cannot_be_read_names_no_folder_of_the_server(shop_service: Service, tmp_path: Path):
    rows = predict_all(shop_service, table(tmp_path, "title,title", "a,b"))
    assert "more than once" in rows[0]["problem"]
    assert str(tmp_path) not in rows[0]["problem"]


def test_titles_of_parquet_and_photos_of_an_archive_are_predicted(shop_service: Service, tmp_path: Path):
    table = tmp_path / "shop.parquet"
    pl.DataFrame({"id": [1, 2], "Produktname": ["Purple skirt", None]}).write_parquet(table)
    photos = tmp_path / "photos.zip"
    with zipfile.ZipFile(photos, "w") as archive:
        archive.mkdir("new")
        archive.write(PHOTO, "new/couch.webp")
    rows = predict_all(shop_service, table, photos)
    assert [row["item"] for row in rows] == ["shop.parquet, row 1", "shop.parquet, row 2", "photos.zip, couch.webp"]
    assert [row["title"] for row in rows] == ["Purple skirt", "", ""]
    assert [row["problem"] for row in rows] == ["", "the title is empty", ""]
    assert [bool(row["category.1"]) for row in rows] == [True, False, True]


@pytest.mark.parametrize(
    "unfolded",
    [["x" * 120_000_000], ["x" * 60_000] * 1000],
    ids=["more memory than it may take", "more text than a batch may hold"],
)
def test_a_parquet_file_that_unfolds_too_far_is_refused(shop_service: Service, tmp_path: Path, unfolded: list[str]):
    bomb = tmp_path / "bomb.parquet"
    pl.DataFrame({"title": unfolded}).write_parquet(bomb)
    assert bomb.stat().st_size < 10_000
    rows = predict_all(shop_service, bomb)
    assert [row["item"] for row in rows] == ["bomb.parquet"]
    assert "unfold to more" in rows[0]["problem"]
    assert str(tmp_path) not in rows[0]["problem"]


def test_parquet_is_unfolded_within_the_memory_that_is_set(shop_service, tmp_path, monkeypatch):
    monkeypatch.setattr(titles, "UNFOLDING_BYTES", 100_000_000)
    small = tmp_path / "small.parquet"
    pl.DataFrame({"title": ["Bed"]}).write_parquet(small)
    assert "unfold to more" in predict_all(shop_service, small)[0]["problem"]


def test_of_a_parquet_file_no_more_rows_are_read_than_a_batch_has(shop_service, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_ROWS", 3)
    many = tmp_path / "many.parquet"
    pl.DataFrame({"title": ["Bed"] * 1_000_000}).write_parquet(many)
    assert len(predict_all(shop_service, many)) == 3


def test_a_hostile_archive_costs_lines_and_nothing_else(shop_service: Service, tmp_path: Path):
    hostile = tmp_path / "hostile.zip"
    large = shop_service.settings.max_image_bytes + 1
    with zipfile.ZipFile(hostile, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../outside.webp", PHOTO.read_bytes())
        archive.writestr("C:\\inside.zip", "PK")
        archive.writestr("bomb.png", bytes(large))
        archive.writestr("lzma.png", b"", zipfile.ZIP_LZMA)
        archive.writestr("damaged.png", b"1234")
    hostile.write_bytes(hostile.read_bytes().replace(b"damaged.png", b"changed.png", 1))
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK")
    rows = predict_all(shop_service, hostile, broken)
    reasons = ["", "not a photo", "larger than the limit", "unusual method", "cannot be unpacked", "not a complete zip"]
    assert [row["item"].split(", ")[-1] for row in rows[:2]] == ["outside.webp", "inside.zip"]
    assert all(reason in row["problem"] for row, reason in zip(rows, reasons, strict=True))
    assert [bool(row["category.1"]) for row in rows] == [True, False, False, False, False, False]
    assert list(tmp_path.parent.rglob("outside.webp")) == []


def test_of_a_photo_in_an_archive_no_more_is_unpacked_than_a_photo_may_have(tmp_path: Path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(50_000_000))
    small = service(tmp_path / "shop", [], max_image_bytes=1000)
    with ExitStack() as opened:
        photo = next(batch_files.items_of(str(bomb), 1, opened)).photo
        assert photo
        tracemalloc.start()
        with pytest.raises(BadInputError, match="larger than the limit"), photo(small):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    small.close()
    assert most < 1_000_000


def test_the_size_that_an_archive_claims_is_not_believed(shop_service: Service, tmp_path: Path):
    size = shop_service.settings.max_image_bytes + 1
    liar = tmp_path / "liar.zip"
    with zipfile.ZipFile(liar, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small.png", bytes(size))
    liar.write_bytes(liar.read_bytes().replace(size.to_bytes(4, "little"), (9).to_bytes(4, "little")))
    problem = predict_all(shop_service, liar)[0]["problem"]
    assert "cannot be unpacked" in problem or "not a picture" in problem


def test_rows_beyond_the_limit_are_left_out_and_counted(shop_service, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_ROWS", 3)
    many = table(tmp_path, "title", *("Bed" for _ in range(9)))
    assert len(predict_all(shop_service, many)) == 3
    assert "Only the first 3 were read" in list(batch.predict_all(shop_service, [str(many)]))[-1]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " ="])
def test_no_cell_of_the_download_is_a_formula(start: str):
    shown = batch_table.report([{"item": f"{start}1", f"attributes.{start}": f"{start}cmd|' /C calc'!A0"}])
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", shown)[0]).decode("utf-8-sig")
    assert not any(cell.strip(" ").startswith(start) for row in csv.reader(io.StringIO(data)) for cell in row)


def test_the_table_on_the_page_is_escaped():
    shown = batch_table.report([{"item": title} for title in HOSTILE_TITLES])
    assert not any(title in shown for title in HOSTILE_TITLES)
    assert html.escape(HOSTILE_TITLES[2]) in shown


def kept(path: str | Path) -> str | None:
    """What an input makes of a path that a browser names."""
    found = uploads_only(gr.UploadButton()).async_move_resource_to_block_cache(path)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, found).result()


def test_an_upload_is_never_fetched_from_an_address():
    with pytest.raises(gr.Error, match="not fetched"):
        kept("http://127.0.0.1:9/table.csv")


def test_a_file_of_the_server_is_no_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    secret, sent = table(tmp_path, "title", "secret"), table(uploads, "title", "Bed")
    (uploads / "link.csv").symlink_to(secret)
    for path in (secret, uploads / ".." / "shop.csv", uploads / "link.csv", "/etc/passwd"):
        with pytest.raises(gr.Error, match="not named by its path"):
            kept(path)
    assert kept(sent) == str(sent)


def test_the_core_product_is_framed_at_the_scale_of_the_preview():
    shown = core_product(Image.new("RGB", (1920, 960), "white"), (480.0, 240.0, 960.0, 480.0), "Found")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(re.findall(r"base64,([^\"]+)", shown)[0]))).convert("L"))
    dark_rows, dark_columns = np.nonzero(pixels < 128)
    assert pixels.shape == (240, 480)
    assert [dark_columns.min(), dark_rows.min()] == pytest.approx([119, 59], abs=3)
    assert [dark_columns.max(), dark_rows.max()] == pytest.approx([241, 121], abs=3)


@pytest.mark.browser
def test_the_tab_predicts_and_shows_where_the_model_looks(open_page: Callable[..., Page], shop_url: str):
    page = open_page(shop_url)
    page.get_by_role("tab", name="Understand").click()
    page.locator("#understand input[type=file]").set_input_files(PHOTO)
    page.get_by_label("Product title").fill("Green armchair")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.get_by_alt_text("The product that was found")).to_be_visible()
    page.get_by_role("button", name="Show where the model looks").click()
    expect(page.get_by_role("img", name=re.compile("^For the title: "))).to_be_visible()


@pytest.mark.browser
def test_a_batch_can_be_downloaded(open_page: Callable[..., Page], shop_url: str, tmp_path: Path):
    page = open_page(shop_url)
    page.get_by_role("tab", name="Understand").click()
    page.get_by_text("Many products at once").click()
    page.locator("#batch input[type=file]").set_input_files([PHOTO, table(tmp_path, "title", "Purple skirt", "=1+1")])
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[0].strip('"') for line in lines] == ["item", PHOTO.name, "shop.csv", "shop.csv"]
    assert ",'=1+1," in lines[3]
