"""Many products at once: what comes in, and the table that goes out."""

from __future__ import annotations

import base64
import csv
import html
import io
import re
import tracemalloc
import zipfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from app.errors import ModelError
from app.facade import MoonSearch
from app.serving import Service
from tests.ui.sample_shop import DEMO, HOSTILE_TITLES
from ui import batch, batch_files, batch_table, tables
from ui.uploads import Upload

PHOTO = DEMO / "photos" / "bs0-couch-c0_p0.webp"


def shown(service: Service, *files: Path) -> list[str]:
    """What the page shows one after the other."""
    return list(batch.predict_all(service, [Upload(str(file), file.name) for file in files]))


def downloaded(report: str) -> list[dict[str, str]]:
    """The rows of the download."""
    data = re.search(r'href="data:text/csv;base64,([^"]+)"', report)
    assert data
    return list(csv.DictReader(io.StringIO(base64.b64decode(data[1]).decode("utf-8-sig"))))


def predict_all(service: Service, *files: Path) -> list[dict[str, str]]:
    return downloaded(shown(service, *files)[-1])


def table(folder: Path, *lines: str, name: str = "shop.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_titles_of_a_table_and_photos_are_predicted_together(shop_service: Service, tmp_path: Path):
    titles = table(tmp_path, "id;Produktname;image", "1;Purple skirt;/etc/passwd", "2;Garden bench;http://127.0.0.1:9/")
    rows = predict_all(shop_service, titles, PHOTO)
    assert [row["item"] for row in rows] == ["shop.csv, row 1", "shop.csv, row 2", PHOTO.name]
    assert [row["id"] for row in rows] == ["1", "2", ""]
    assert [row["Produktname"] for row in rows] == ["Purple skirt", "Garden bench", ""]
    assert [row["image"] for row in rows] == ["/etc/passwd", "http://127.0.0.1:9/", ""]
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
    columns = {
        "id": [1, 2],
        "Produktname": ["Purple skirt", None],
        "tags": [["a", "ä"], []],
        "since": [date(2024, 5, 1), None],
        "picture": [b"\xff", None],
        "pictures": [[{"bytes": b"\xff"}], None],
    }
    pl.DataFrame(columns).write_parquet(table)
    photos = tmp_path / "photos.zip"
    with zipfile.ZipFile(photos, "w") as archive:
        archive.mkdir("new")
        archive.write(PHOTO, "new/couch.webp")
    rows = predict_all(shop_service, table, photos)
    assert [row["item"] for row in rows] == ["shop.parquet, row 1", "shop.parquet, row 2", "photos.zip, couch.webp"]
    assert [row["id"] for row in rows] == ["1", "2", ""]
    assert [row["Produktname"] for row in rows] == ["Purple skirt", "", ""]
    assert [row["tags"] for row in rows] == ['["a", "ä"]', "[]", ""]
    assert [row["since"] for row in rows] == ["2024-05-01", "", ""]
    assert not any(column.startswith("picture") for column in rows[0])
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
    monkeypatch.setattr(tables, "UNFOLDING_BYTES", 100_000_000)
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
    with ExitStack() as opened:
        photo = next(batch_files.items_of(Upload(str(bomb), bomb.name), 1, opened)).photo
        assert photo
        tracemalloc.start()
        data = photo(1000)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(data) == 1001
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
    report = shown(shop_service, table(tmp_path, "title", *("Bed" for _ in range(9))))[-1]
    assert len(downloaded(report)) == 3
    assert "Only the first 3 were read" in report


def test_cells_beyond_the_limit_are_left_out_and_counted(shop_service, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_CHARS", 250)
    report = shown(shop_service, table(tmp_path, "title,text", *(f"Bed,{'x' * 100}" for _ in range(9))))[-1]
    assert len(downloaded(report)) == 2
    assert "Only the first 2 were read" in report


def test_columns_beyond_the_limit_are_left_out_and_said_so(shop_service, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_table, "MAX_COLUMNS", 2)
    report = shown(shop_service, table(tmp_path, "id,title,text", "1,Bed,x"))[-1]
    assert list(downloaded(report)[0])[:4] == ["item", "id", "title", "problem"]
    assert "Of your columns the download has the first 2" in report


def test_the_columns_of_a_table_keep_their_names_and_ours_step_aside(shop_service: Service, tmp_path: Path):
    columns = "item,title,problem,category.1,predicted category.1"
    row = predict_all(shop_service, table(tmp_path, columns, "A-007,Purple skirt,none,Skirts,?"))[0]
    assert [row[column] for column in columns.split(",")] == ["A-007", "Purple skirt", "none", "Skirts", "?"]
    assert row["predicted item"] == "shop.csv, row 1"
    assert row["predicted problem"] == ""
    assert row["predicted predicted category.1"]
    assert 0 <= float(row["category.1 probability"]) <= 1


def test_text_that_utf_8_cannot_say_does_not_end_the_batch(shop_service: Service, tmp_path: Path):
    lines = [r'{"title": "Bed", "\ud800": "\udfff"}', '{"title": "Bed", "size": {"width": 1.5}, "new": true}']
    rows = predict_all(shop_service, table(tmp_path, *lines, name="shop.jsonl"))
    assert rows[0]["?"] == "?"
    assert [rows[1]["size"], rows[1]["new"]] == ['{"width": 1.5}', "true"]


def test_a_table_without_titles_is_one_row(shop_service: Service, tmp_path: Path):
    readme = table(tmp_path, "Read me", *("a line" for _ in range(20)), name="README.txt")
    lots = tmp_path / "numbers.parquet"
    pl.DataFrame({"x": [1, 2, 3]}).write_parquet(lots)
    rows = predict_all(shop_service, readme, lots)
    assert [row["item"] for row in rows] == ["README.txt", "numbers.parquet"]
    assert all("no column with a title" in row["problem"] for row in rows)


def test_rows_are_predicted_together_and_the_progress_moves(shop_service, tmp_path, monkeypatch):
    sizes = []
    predict_many = MoonSearch.predict_many

    def counted(shop, products, *, limit):
        sizes.append(len(products))
        return predict_many(shop, products, limit=limit)

    monkeypatch.setattr(MoonSearch, "predict_many", counted)
    *progress, _ = shown(shop_service, table(tmp_path, "title", *("Bed" for _ in range(20))))
    assert sizes == [8, 8, 4]
    assert re.findall(r'value="(\d+)" max="20"', " ".join(progress)) == ["0", "8", "16", "20"]


def test_photos_that_are_large_together_are_predicted_apart(shop_service, monkeypatch):
    size = PHOTO.stat().st_size
    items = [batch_files.Item("a.webp", photo=lambda most: b"x" * size)] * 5
    assert [len(group) for group in batch._groups(items, 2 * size)] == [2, 2, 1]


def test_an_error_of_the_model_reaches_only_its_row(shop_service, tmp_path, monkeypatch):
    predict_many = shop_service.predictor.predict_many

    def fails_on_cursed(products, limit):
        if any("cursed" in product.title for product in products):
            raise ModelError("the model cannot do this")
        return predict_many(products, limit)

    monkeypatch.setattr(shop_service.predictor, "predict_many", fails_on_cursed)
    rows = predict_all(shop_service, table(tmp_path, "title", "Bed", "cursed bed", "Chair"))
    assert [row["problem"] for row in rows] == ["", "the model cannot do this", ""]
    assert [bool(row["category.1"]) for row in rows] == [True, False, True]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " ="])
def test_no_cell_of_the_download_is_a_formula(start: str):
    evil = {f"{start}name": f"{start}cmd|' /C calc'!A0"}
    report = batch_table.report([batch_table.Row(f"{start}1", "", evil, {f"attributes.{start}": "x", **evil})])
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", report)[0]).decode("utf-8-sig")
    assert not any(cell.strip(" ").startswith(start) for row in csv.reader(io.StringIO(data)) for cell in row)


def test_the_table_on_the_page_is_escaped():
    report = batch_table.report(
        [batch_table.Row(title, title, {title: title}, {title: title}) for title in HOSTILE_TITLES]
    )
    assert not any(title in report for title in HOSTILE_TITLES)
    assert html.escape(HOSTILE_TITLES[2]) in report
