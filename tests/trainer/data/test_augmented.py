from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import CatalogError, ModelError
from trainer.data.augmented import FILE, NOTE, SCHEMA, Augmented
from trainer.data.corpus import Corpus
from trainer.data.record import Item, Picture
from trainer.data.splits import training_rows

BOX = (1.0, 2.0, 3.0, 4.0)


def write(folder: Path, corpus: Corpus, *rows: dict, fingerprint: str = "") -> Path:
    note = {"corpus": fingerprint or corpus.info["fingerprint"]}
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    pq.write_table(table.replace_schema_metadata({NOTE: json.dumps(note)}), folder / FILE)
    return folder


def items_of(corpus: Corpus, split: str) -> list[Item]:
    return [corpus.item(corpus.record(row).positive) for row in corpus.rows_of(split)]


def title(name: str, words: str = "Enriched") -> dict:
    return {"id": name, "kind": "title", "title": words}


def picture(name: str, path: str, of: str, box=None) -> dict:
    return {"id": name, "kind": "scene", "path": path, "picture": of, "box": box}


@pytest.fixture
def opened(corpus, tmp_path):
    def open_(*rows: dict, share: float = 1.0) -> Augmented:
        return Augmented.open(write(tmp_path, corpus, *rows), corpus, training_rows(corpus).train, share)

    return open_


def find_nothing(picture: Picture, title: str) -> None:
    return None


CHAIR = Item("chair", "Red chair", (Picture("a.jpg"), Picture("b.jpg", BOX)))


def test_titles_and_pictures_take_the_place_of_those_that_they_were_made_of(opened, tmp_path):
    found = opened(title("chair"), picture("chair", "images/1.webp", "a.jpg", BOX), title("table", "Other"))
    (varied,) = found.vary([CHAIR], find_nothing, titles=True, rng=random.Random(0))
    assert varied.title == "Enriched"
    assert varied.pictures == (Picture(str(tmp_path / "images" / "1.webp"), BOX), Picture("b.jpg"))
    assert (found.titles, found.pictures) == (2, 1)


def test_titles_stay_where_they_would_give_the_answer_away(opened):
    (varied,) = opened(title("chair")).vary([CHAIR], find_nothing, titles=False, rng=random.Random(0))
    assert varied.title == "Red chair"


def test_boxes_are_looked_up_by_the_title_that_was(opened):
    asked = []

    def find(picture: Picture, words: str):
        asked.append(words)
        return picture.box

    (varied,) = opened(title("chair")).vary([CHAIR], find, titles=True, rng=random.Random(0))
    assert set(asked) == {"Red chair"}
    assert varied.pictures == CHAIR.pictures


def test_products_of_a_triplet_are_augmented_together(opened):
    found = opened(title("chair"), title("table"), share=0.5)
    table = Item("table", "Red table")
    shown = [
        {item.title for item in found.vary([CHAIR, table], find_nothing, True, random.Random(n))} for n in range(60)
    ]
    assert all(titles in ({"Enriched"}, {"Red chair", "Red table"}) for titles in shown)
    assert 15 < shown.count({"Enriched"}) < 45


def test_a_folder_none_of_whose_pictures_is_made_of_one_of_the_data_s_is_warned_of(opened, corpus, caplog):
    item = items_of(corpus, "train")[0]
    moved, there = picture(item.id, "1.webp", "moved.jpg"), picture(item.id, "2.webp", item.pictures[-1].location)
    opened(title(item.id))
    opened(moved, there)
    assert not caplog.records
    opened(title(item.id), moved)
    (record,) = caplog.records
    assert "no picture is made of one of" in record.getMessage()


def test_a_product_without_augmented_data_stays(opened):
    lamp = Item("lamp", "Lamp", (Picture("c.jpg"),))
    assert opened(title("chair")).vary([lamp], find_nothing, True, random.Random(0)) == [lamp]


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_folder_with_a_held_out_product_is_refused(opened, corpus, split):
    held_out = items_of(corpus, split)[0].id
    with pytest.raises(ModelError, match=f"holds 1 products .*{held_out}.* never augmented"):
        opened(title(items_of(corpus, "train")[0].id), title(held_out))


def test_a_folder_with_a_sku_of_a_held_out_model_is_refused(corpus, tmp_path, opened):
    tested = {item.id for item in items_of(corpus, "test")}
    groups = {item.group for item in items_of(corpus, "test")}
    siblings = [item.id for item in map(corpus.item, range(corpus.items)) if item.group in groups]
    assert set(siblings) >= tested
    with pytest.raises(ModelError, match="never augmented"):
        opened(title(siblings[-1]))


def test_a_folder_of_another_data_set_is_refused(corpus, tmp_path):
    write(tmp_path, corpus, title("chair"), fingerprint="other")
    with pytest.raises(CatalogError, match="made of another data set"):
        Augmented.open(tmp_path, corpus, training_rows(corpus).train, 0.5)


def test_an_unfinished_folder_is_refused_with_what_to_do(corpus, tmp_path):
    with pytest.raises(CatalogError, match="make them with `trainer augment`"):
        Augmented.open(tmp_path, corpus, training_rows(corpus).train, 0.5)
