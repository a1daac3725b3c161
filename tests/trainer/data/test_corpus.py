from __future__ import annotations

import json

import pytest

from app.errors import CatalogError
from trainer.data.corpus import INFO, Corpus, CorpusWriter
from trainer.data.keys import WIDTH, answer_key, group_key, id_key, title_key
from trainer.data.record import Item, Picture, Record

CHAIR = Item(
    "1", "Red chair", (Picture("a.jpg", (1.0, 2.0, 30.0, 40.0)), Picture("b.jpg")), ("Home", "Chairs"),
    {"color": ("red",), "size": ("M", "L")}, "chair", ("kind:chair",),
)  # fmt: skip
TABLE = Item("2", "Oak table")


def test_items_and_records_come_back_as_they_were_written(tmp_path):
    record = Record(
        "1", "red", Picture("q.jpg", (0.0, 0.0, 9.0, 9.0)), "2", ("2",), "kind:chair", modalities=("both",),
        weight=0.5, split="dev",
    )  # fmt: skip
    with CorpusWriter(tmp_path, {"name": "shop"}) as writer:
        writer.add_catalog([CHAIR, TABLE])
        writer.add(record)
    corpus = Corpus(tmp_path)
    assert (corpus.name, corpus.items, corpus.records) == ("shop", 2, 1)
    assert [corpus.item(0), corpus.item(1)] == [CHAIR, TABLE]
    stored = corpus.record(0)
    for name in ("text", "picture", "also_right", "meaning", "segment", "modalities", "weight", "split"):
        assert getattr(stored, name) == getattr(record, name)
    assert (stored.positive, stored.negative) == (0, 1)


def test_modalities_follow_from_what_the_query_has(tmp_path):
    with CorpusWriter(tmp_path, {"name": "x"}) as writer:
        writer.add(Record(CHAIR, "red"))
        writer.add(Record(CHAIR, picture=Picture("q.jpg")))
        writer.add(Record(CHAIR, "red", Picture("q.jpg")))
        writer.add(Record(CHAIR, "red", Picture("q.jpg"), modalities=("image", "both")))
    found = [Corpus(tmp_path).record(row).modalities for row in range(4)]
    assert found == [("text",), ("image",), ("image", "text", "both"), ("image", "both")]


def test_a_record_without_a_usable_query_is_refused_and_leaves_no_item(tmp_path):
    with CorpusWriter(tmp_path, {"name": "x"}) as writer:
        for record in (Record(CHAIR), Record(CHAIR, "red", modalities=("image",))):
            with pytest.raises(CatalogError, match="neither text nor picture"):
                writer.add(record)
        assert (writer.items, writer.records) == (0, 0)


def test_a_record_of_an_unknown_product_is_refused(tmp_path):
    with CorpusWriter(tmp_path, {"name": "x"}) as writer, pytest.raises(CatalogError, match="product '7'"):
        writer.add(Record("7", "red"))


def test_an_interrupted_writer_leaves_no_corpus(tmp_path):
    with pytest.raises(CatalogError, match="product '7'"), CorpusWriter(tmp_path, {"name": "x"}) as writer:
        writer.add(Record(CHAIR, "red", negative="7"))
    with pytest.raises(CatalogError, match="no prepared data set"):
        Corpus(tmp_path)


def test_a_corpus_of_another_version_is_refused(tmp_path):
    with CorpusWriter(tmp_path, {"name": "x"}) as writer:
        writer.add(Record(CHAIR, "red"))
    info = json.loads((tmp_path / INFO).read_text())
    (tmp_path / INFO).write_text(json.dumps(info | {"version": 0}))
    with pytest.raises(CatalogError, match="another version"):
        Corpus(tmp_path)


def test_keys_name_product_group_title_and_meanings(tmp_path):
    with CorpusWriter(tmp_path, {"name": "x"}) as writer:
        writer.add_catalog([CHAIR])
        writer.add(Record("1", "red", also_right=("5",), meaning="kind:stool"))
    corpus = Corpus(tmp_path)
    shared = [id_key("1"), group_key("chair"), title_key("RED chair!")]
    document, query = corpus.item_document_keys(0, CHAIR), corpus.query_keys(corpus.record(0))
    assert document[:4] == [*shared, answer_key("kind:chair")]
    assert query[:5] == [*shared, answer_key("kind:stool"), id_key("5")]
    assert len(document) == len(query) == WIDTH


def test_the_gallery_has_every_product_once(tmp_path):
    with CorpusWriter(tmp_path, {"name": "x"}) as writer:
        for item in (CHAIR, TABLE, CHAIR):
            writer.add(Record(item, "red"))
    assert Corpus(tmp_path).distinct_items.tolist() == [0, 1]


@pytest.mark.parametrize("title", ["Straße-12_a", "3½ ÉTÉ", "椅子・赤"])
def test_titles_are_one_whatever_stands_between_their_words(title):
    assert title_key(title) == title_key(f" ({title.upper()}) ".replace("-", " _ "))
    assert title_key(title) != title_key(f"{title} 2")
