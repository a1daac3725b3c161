from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import CatalogError
from trainer.data.corpus import Corpus
from trainer.data.mbe import COLUMNS, attribute_pairs, box_of
from trainer.data.open import open_corpus, read_problems

ROW = {
    "id": "77",
    "doc_title": "Red oak chair",
    "doc_image": "https://img.example.com/77.jpg",
    "doc_industry_name": "Home improvement",
    "doc_cate1_name": "Furniture",
    "doc_cate2_name": "Seats",
    "doc_cate3_name": "Chairs",
    "doc_cate4_name": "Dining chairs",
    "doc_attributes": "color:red!!!dark red,,material:oak,,size/specification:40:60",
    "query_title": "red dining chair",
    "query_image": "https://img.example.com/q.jpg",
    "query_bbox": "10,20,110,220",
    "neg_title": "Blue oak chair",
    "neg_image": "https://img.example.com/n.jpg",
}
ENRICHED = {
    "enriched_title": "Red oak chair with a high back",
    "expanded_images": ["x/1.jpg", "x/2.jpg"],
    "neg_enriched_title": "Blue oak chair with arms",
    "neg_expanded_images": ["x/3.jpg"],
}


def mbe(folder: Path, *rows: dict | str, name: str = "train.jsonl") -> Corpus:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return open_corpus(folder, cache=folder / "cache")


def test_a_row_is_query_product_and_hard_negative(tmp_path):
    corpus = mbe(tmp_path, ROW)
    record = corpus.record(0)
    assert corpus.info["format"] == "mbe"
    assert (record.text, record.split) == ("red dining chair", "train")
    assert (record.picture.location, record.picture.box) == ("https://img.example.com/q.jpg", (10, 20, 110, 220))
    assert record.modalities == ("image", "text", "both")
    item = corpus.item(record.positive)
    assert (item.id, item.title) == ("77", "Red oak chair")
    assert [picture.location for picture in item.pictures] == ["https://img.example.com/77.jpg"]
    assert item.category == ("Furniture", "Seats", "Chairs", "Dining chairs")
    assert item.attributes == {
        "color": ("red", "dark red"),
        "material": ("oak",),
        "size/specification": ("40:60",),
    }
    negative = corpus.item(record.negative)
    assert (negative.title, negative.category) == ("Blue oak chair", item.category)
    assert negative.attributes == {}


CANONICAL = {field: next(name for name in names if name in (ROW | ENRICHED) or name == names[0])
             for field, names in COLUMNS.items()}  # fmt: skip
FULL = ROW | ENRICHED | {CANONICAL["box"]: "1,1,50,50", "neg_id": "n1", "neg_bbox": "2,2,60,60", "split": "dev"}


@pytest.mark.parametrize(("field", "alias"), [(field, alias) for field, names in COLUMNS.items() for alias in names])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_name_of_a_column_is_understood(tmp_path, field, alias, split):
    row = FULL | {"split": split}
    renamed = {key: value for key, value in row.items() if key not in COLUMNS[field]}
    value = next(row[name] for name in COLUMNS[field] if name in row)
    plain, other = mbe(tmp_path, row), tmp_path / "other"
    other.mkdir()
    found = mbe(other, renamed | {alias.replace("_", " ").title(): value})
    assert found.record(0).split == split
    assert _everything(found, other) == _everything(plain, tmp_path)


def _everything(corpus: Corpus, folder: Path) -> str:
    return repr([corpus.record(0), *map(corpus.item, range(corpus.items))]).replace(str(folder), "")


@pytest.mark.parametrize("gone", [("doc_title", "doc_image"), ("query_title", "query_image")])
def test_without_a_needed_column_the_error_lists_those_found(tmp_path, gone):
    row = {key: value for key, value in ROW.items() if key not in gone}
    with pytest.raises(CatalogError, match=r"no column for the (product|query); name one .*Columns found: .*neg_title"):
        mbe(tmp_path, row)


def test_broken_lines_cost_themselves(tmp_path):
    corpus = mbe(
        tmp_path,
        ROW,
        '{"id": "half',
        "[1, 2]",
        {**ROW, "doc_title": "", "doc_image": None},
        {**ROW, "query_title": " ", "query_image": []},
        {**ROW, "split": "holdout"},
        {**ROW, "id": "78"},
    )
    assert corpus.records == 2
    problems = [(p.severity, p.row, p.field) for p in read_problems(corpus).problems]
    assert problems == [
        ("reject", row, field) for row, field in enumerate(("row", "row", "product", "query", "split"), 2)
    ]


def test_a_broken_field_costs_the_field(tmp_path):
    corpus = mbe(
        tmp_path,
        {**ROW, "query_bbox": "here"},
        {**ROW, "doc_attributes": "red,,color:blue"},
        {**ROW, "doc_title": ["a", "list"]},
    )
    assert corpus.records == 3
    assert corpus.record(0).picture.box is None
    assert corpus.item(corpus.record(1).positive).attributes == {"color": ("blue",)}
    assert corpus.item(corpus.record(2).positive).title == ""
    fields = [(p.severity, p.field) for p in read_problems(corpus).problems]
    assert fields == [("warning", "query_box"), ("warning", "attributes"), ("warning", "title")]


def test_characters_that_are_no_text_do_no_harm(tmp_path):
    corpus = mbe(tmp_path, json.dumps({**ROW, "doc_title": "chair \ud800 red", "query_title": "a\tb\nc"}))
    assert corpus.item(0).title == "chair ? red"
    assert corpus.record(0).text == "a b c"


@pytest.mark.parametrize(
    ("cell", "locations"),
    [
        ("pics/1.jpg", ["{folder}/pics/1.jpg"]),
        (["pics/1.jpg", "https://x.example/2.jpg"], ["{folder}/pics/1.jpg", "https://x.example/2.jpg"]),
        ('["a.jpg", "b.jpg"]', ["{folder}/a.jpg", "{folder}/b.jpg"]),
        ("//img.example.com/1.jpg", ["https://img.example.com/1.jpg"]),
        ("", []),
    ],
)
def test_pictures_are_urls_relative_paths_or_lists(tmp_path, cell, locations):
    corpus = mbe(tmp_path, {**ROW, "doc_image": cell})
    found = [picture.location for picture in corpus.item(0).pictures]
    assert found == [location.format(folder=tmp_path) for location in locations]


def test_enriched_titles_and_expanded_images_are_for_training_only(tmp_path):
    corpus = mbe(
        tmp_path, ROW | ENRICHED, ROW | ENRICHED | {"split": "test"}, ROW | ENRICHED | {"enriched_title": "Seat"}
    )
    train, test, other = (corpus.item(corpus.record(row).positive) for row in range(3))
    assert train.title == "Red oak chair with a high back"
    assert [Path(picture.location).name for picture in train.pictures] == ["77.jpg", "1.jpg", "2.jpg"]
    assert (test.title, len(test.pictures)) == ("Red oak chair", 1)
    assert other.title == "Red oak chair Seat"
    blue, plain = (corpus.item(corpus.record(row).negative) for row in (0, 1))
    assert (blue.title, plain.title) == ("Blue oak chair with arms", "Blue oak chair")
    assert [len(item.pictures) for item in (blue, plain)] == [2, 1]


def test_a_hard_negative_with_the_title_of_the_product_is_left_out_however_both_are_enriched(tmp_path):
    corpus = mbe(tmp_path, ROW | ENRICHED | {"neg_title": "Red Oak Chair"})
    assert corpus.record(0).negative is None


def test_a_column_that_nothing_uses_is_named(tmp_path):
    corpus = mbe(tmp_path, ROW | {"enrich_text": "Red oak chair with a high back"})
    (problem,) = read_problems(corpus).problems
    assert (problem.severity, problem.field) == ("warning", "columns")
    assert problem.reason == "train.jsonl: nothing uses enrich_text"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"),
        ("mbe_val-1.jsonl", "dev"),
        ("dev.json", "dev"),
        ("test-00.ndjson", "test"),
        ("a.jsonl", "train"),
    ],
)
def test_the_name_of_a_file_tells_its_split(tmp_path, name, split):
    assert mbe(tmp_path, ROW, {**ROW, "id": "2"}, name=name).record(0).split == split


def test_a_folder_of_files_is_one_data_set(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "readme.json").write_text('{"licence": "Apache-2.0"}')
    (tmp_path / "part-test.jsonl").write_text(json.dumps(ROW))
    corpus = mbe(tmp_path, ROW, ROW)
    assert [corpus.record(row).split for row in range(corpus.records)] == ["test", "train", "train"]


def test_a_json_array_is_read_like_lines(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps([ROW, 5, ROW], indent=1))
    corpus = open_corpus(tmp_path / "train.json", cache=tmp_path / "cache")
    assert corpus.records == 2
    assert [p.row for p in read_problems(corpus).problems] == [2]


def test_mbe_may_be_parquet_when_its_format_is_named(tmp_path):
    file = tmp_path / "rows.parquet"
    pl.DataFrame([ROW]).write_parquet(file)
    assert open_corpus(file, cache=tmp_path / "cache", format="mbe").record(0).text == "red dining chair"


def test_a_hard_negative_that_is_the_product_is_left_out(tmp_path):
    corpus = mbe(tmp_path, {**ROW, "neg_title": "RED oak-chair"}, {**ROW, "neg_id": "77"})
    assert [corpus.record(row).negative for row in (0, 1)] == [None, None]
    assert [p.field for p in read_problems(corpus).problems] == ["negative", "negative"]


def test_products_without_an_id_are_the_same_if_title_and_picture_are(tmp_path):
    row = {key: value for key, value in ROW.items() if key != "id"}
    corpus = mbe(tmp_path, row, row, {**row, "doc_title": "Green chair"})
    ids = [corpus.item(corpus.record(number).positive).id for number in range(3)]
    assert ids[0] == ids[1] != ids[2]


def test_levels_after_a_missing_one_are_no_category(tmp_path):
    corpus = mbe(tmp_path, {**ROW, "doc_cate3_name": ""})
    assert corpus.item(0).category == ("Furniture", "Seats")


words = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters=":,!{}"), min_size=1, max_size=8)


@given(st.dictionaries(words, st.lists(words, min_size=1, max_size=3, unique=True), max_size=4))
def test_attributes_come_back_from_their_text(attributes):
    text = ",,".join(f"{key}:{'!!!'.join(values)}" for key, values in attributes.items())
    assert attribute_pairs(text) == ({key: tuple(values) for key, values in attributes.items()}, [])


@given(st.one_of(st.text(st.characters(exclude_characters="{")), st.none(), st.integers(), st.text(":,!ab ")))
def test_any_text_is_read_as_attributes_without_a_fault(cell):
    found, wrong = attribute_pairs(cell)
    assert all(key and values and all(values) for key, values in found.items())
    assert all(wrong)


def test_attributes_in_broken_json_are_refused():
    with pytest.raises(ValueError, match="not valid JSON"):
        attribute_pairs('{"color": ')


def test_attributes_may_be_a_mapping_or_json():
    expected = {"color": ("red", "blue"), "size": ("3",)}
    assert attribute_pairs({"color": ["red", "blue"], "size": 3, "brand": None})[0] == expected
    assert attribute_pairs('{"color": ["red", "blue"], "size": 3}')[0] == expected


@pytest.mark.parametrize(
    "cell", ["1,2", "0,0,0,0", "5,5,1,1", "0.1,0.1,0.9,0.9", [1, 2, 3], "1,2,3,4,5", "-9,-9,-1,-1"]
)
def test_what_is_no_box_in_pixels_is_refused(cell: Any):
    with pytest.raises(ValueError, match="no box"):
        box_of(cell)


@pytest.mark.parametrize("cell", ["1,2,30,40", "[1.0, 2, 30, 40]", [1, 2, 30, 40], "(1 2 30 40)"])
def test_boxes_are_four_numbers_in_any_brackets(cell: Any):
    assert box_of(cell) == (1, 2, 30, 40)
