from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.errors import CatalogError
from app.images import read_bytes
from trainer.data.corpus import Corpus
from trainer.data.m5 import is_query, pairs_of
from trainer.data.open import open_corpus, read_problems

QUERIES = [str(n) for n in range(400) if is_query(str(n))][:4]
ITEMS = [str(n) for n in range(400) if not is_query(str(n))][:12]


def entry(number: str, label: str = "chairs") -> dict:
    return {"title": f"Chair {number}", "pv": "Brand#:#Acme#;#Colour#:#red#;#Colour#:#blue", "label": label}


def products(*pairs: tuple[str, str]) -> dict[str, dict]:
    return {number: entry(number, label) for number, label in pairs}


CHAIRS = products((QUERIES[0], "chairs"), (ITEMS[0], "chairs"), (ITEMS[1], "chairs"), (ITEMS[2], "lamps"))


def m5(folder: Path, data: dict, name: str = "meta.json", **options) -> Corpus:
    (folder / name).write_text(json.dumps(data, indent=1))
    return open_corpus(folder, cache=folder / "cache", **options)


def test_a_query_is_answered_by_every_item_of_its_label(tmp_path):
    corpus = m5(tmp_path, CHAIRS)
    assert (corpus.info["format"], corpus.items, corpus.records) == ("m5", 3, 1)
    record = corpus.record(0)
    assert (record.text, record.split) == (f"Chair {QUERIES[0]}", "test")
    right = [item.id for item in map(corpus.item, range(3)) if record.meaning in item.answers]
    assert right == [ITEMS[0], ITEMS[1]]
    assert corpus.item(record.positive).id == ITEMS[0]


def test_a_query_is_no_item_itself(tmp_path):
    corpus = m5(tmp_path, CHAIRS)
    assert QUERIES[0] not in {item.id for item in map(corpus.item, range(corpus.items))}


def test_about_one_product_in_ten_is_a_query():
    assert sum(is_query(str(n)) for n in range(5000)) == pytest.approx(500, abs=75)


def test_a_query_without_another_product_of_its_label_becomes_an_item(tmp_path):
    corpus = m5(tmp_path, CHAIRS | products((QUERIES[1], "sofas")))
    assert (corpus.records, corpus.item(3).id) == (1, QUERIES[1])


def test_products_without_a_label_are_items_that_answer_nothing(tmp_path):
    corpus = m5(tmp_path, CHAIRS | {QUERIES[2]: {"title": "Thing"}})
    assert (corpus.item(3).id, corpus.item(3).answers) == (QUERIES[2], ())


def test_items_have_attributes_and_the_label_as_their_category(tmp_path):
    item = m5(tmp_path, CHAIRS).item(0)
    assert item.attributes == {"Brand": ("Acme",), "Colour": ("red", "blue")}
    assert item.category == ("chairs",)


def test_json_lines_and_arrays_are_read_like_the_object(tmp_path):
    rows = [{"id": int(number), **cells} for number, cells in CHAIRS.items()]
    for name, text in (
        ("lines.jsonl", "\n".join(map(json.dumps, rows))),
        ("lines.json", "\n".join(map(json.dumps, rows))),
        ("array.json", json.dumps(rows)),
        ("single.jsonl", "\n".join(json.dumps({number: cells}) for number, cells in CHAIRS.items())),
        ("object.json", json.dumps(CHAIRS)),
    ):
        (tmp_path / name).write_text(text)
        corpus = open_corpus(tmp_path / name, cache=tmp_path / "cache", format="m5")
        assert (corpus.items, corpus.records) == (3, 1), name


def picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, "JPEG")
    return data.getvalue()


def test_pictures_lie_beside_the_metadata_in_a_folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number in (QUERIES[0], ITEMS[0]):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(picture())
    corpus = m5(tmp_path, CHAIRS)
    assert corpus.record(0).picture.location == str(tmp_path / "images" / f"{QUERIES[0]}.jpg")
    assert corpus.record(0).modalities == ("image", "text", "both")
    assert [len(corpus.item(row).pictures) for row in range(3)] == [1, 0, 0]


def test_pictures_may_be_members_of_a_zip_file_elsewhere(tmp_path):
    archive = tmp_path / "elsewhere.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(f"part1/{ITEMS[0]}.jpg", picture())
        file.writestr("notes.txt", "no picture")
    corpus = m5(tmp_path, CHAIRS, images=archive)
    location = corpus.item(0).pictures[0].location
    assert read_bytes(location, max_bytes=10_000) == picture()


def test_pictures_that_are_neither_a_folder_nor_a_zip_file_are_an_error(tmp_path):
    file = tmp_path / "pictures.rar"
    file.write_text("rar")
    with pytest.raises(CatalogError, match="neither a folder nor a zip file"):
        m5(tmp_path, CHAIRS, images=file)


def test_an_id_cannot_lead_out_of_the_folder_of_pictures(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.jpg").write_bytes(picture())
    corpus = m5(tmp_path, CHAIRS | {"../secret": entry("x")})
    assert (corpus.items, corpus.records) == (3, 2)
    assert not any(corpus.record(row).picture for row in range(2))


def test_the_name_of_the_file_tells_the_split(tmp_path):
    assert m5(tmp_path, CHAIRS, name="m5_train.json").record(0).split == "train"


def test_broken_products_cost_themselves(tmp_path):
    broken = {"a": 5, "b": {"pv": "Brand#:#Acme", "label": "chairs"}, "c": {**entry("c"), "pv": "Brand", "title": [1]}}
    corpus = m5(tmp_path, CHAIRS | broken | {ITEMS[3]: {**entry("d"), "pv": "red#;#A#:#b"}})
    found = {(p.severity, p.id, p.field) for p in read_problems(corpus).problems}
    assert found == {
        *(("reject", "a", "row"), ("reject", "b", "row"), ("reject", "c", "row")),
        *(("warning", "c", "pv"), ("warning", "c", "title"), ("warning", ITEMS[3], "pv")),
    }
    assert corpus.items == 4


def test_an_id_that_comes_twice_counts_once(tmp_path):
    text = json.dumps(CHAIRS)[:-1] + f', "{ITEMS[0]}": {json.dumps(entry("again"))}}}'
    (tmp_path / "meta.json").write_text(text)
    corpus = open_corpus(tmp_path, cache=tmp_path / "cache")
    assert corpus.items == 3
    assert [(p.id, p.row, p.reason) for p in read_problems(corpus).problems] == [(ITEMS[0], 5, "the id occurs twice")]


def test_a_file_that_ends_too_early_is_an_error_that_names_it(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps(CHAIRS)[:-20])
    with pytest.raises(CatalogError, match=r"meta\.json: not valid JSON"):
        open_corpus(tmp_path, cache=tmp_path / "cache")


words = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="#"), min_size=1, max_size=8).filter(
    lambda word: word not in (";", ":")  # between two signs of the format these would be a third one
)


@given(st.dictionaries(words, st.lists(words, min_size=1, max_size=3, unique=True), max_size=4))
def test_attributes_come_back_from_their_text(attributes):
    pv = "#;#".join(f"{key}#:#{value}" for key, values in attributes.items() for value in values)
    assert pairs_of(pv) == ({key: tuple(values) for key, values in attributes.items()}, [])


@given(st.one_of(st.none(), st.text(), st.text("#:; ab")))
def test_any_text_is_read_as_attributes_without_a_fault(pv):
    found, wrong = pairs_of(pv)
    assert all(key and values and all(values) for key, values in found.items())
    assert all(wrong)
