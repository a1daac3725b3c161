from __future__ import annotations

from random import Random

import numpy as np
import pytest

from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.negatives import NegativePool, training_items
from trainer.data.record import Item, Record

SOFAS, CHAIRS, LAMPS = ("Home", "Seats", "Sofas"), ("Home", "Seats", "Chairs"), ("Home", "Lamps")


def make(folder, *items: Item) -> Corpus:
    with CorpusWriter(folder, {"name": "test"}) as writer:
        writer.add_catalog(items)
    return Corpus(folder)


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    return make(
        tmp_path,
        Item("a-red", "Red sofa", category=SOFAS, group="a"),
        Item("a-blue", "Blue sofa", category=SOFAS, group="a"),
        Item("b", "Corner sofa", category=SOFAS),
        Item("c", "RED  SOFA!", category=SOFAS),
        Item("d", "Chair", category=CHAIRS),
        Item("e", "Seat cushion", category=("Home", "Seatsonly")),
        Item("f", "Lamp", category=LAMPS),
        Item("g", "Loose thing"),
        Item("h", "Red sofa", category=SOFAS, group="a"),
        Item("k", "Tent", category=("Garden",)),
        Item("l", category=LAMPS),
        Item("m", category=LAMPS),
    )


def drawn(draw, row: int) -> set:
    rng = Random(0)
    return {draw(row, rng) for _ in range(200)}


def everything(corpus: Corpus) -> np.ndarray:
    return np.arange(corpus.items)


def test_a_negative_of_the_category_is_neither_a_sibling_nor_of_the_same_title(corpus):
    pool = NegativePool(corpus, everything(corpus))
    assert drawn(pool.same_category, 0) == {2}
    assert drawn(pool.same_category, 2) == {0, 1, 3, 8}


def test_without_another_product_in_the_category_the_nearest_ancestor_gives_one(corpus):
    pool = NegativePool(corpus, everything(corpus))
    assert drawn(pool.same_category, 4) == {0, 1, 2, 3, 8}
    assert drawn(pool.same_category, 5) == {0, 1, 2, 3, 4, 6, 8, 10, 11}


def test_there_is_no_negative_without_a_category_or_with_a_root_of_its_own(corpus):
    pool = NegativePool(corpus, everything(corpus))
    assert drawn(pool.same_category, 7) == {None}
    assert drawn(pool.same_category, 9) == {None}


def test_items_without_titles_are_different_products(corpus):
    assert drawn(NegativePool(corpus, np.array([10, 11])).same_category, 10) == {11}


def test_siblings_share_the_model_but_neither_id_nor_title(corpus):
    pool = NegativePool(corpus, everything(corpus))
    assert drawn(pool.sibling, 0) == {1}
    assert drawn(pool.sibling, 1) == {0, 8}
    assert drawn(pool.sibling, 2) == {None}


def test_only_allowed_rows_are_drawn_and_others_may_ask(corpus):
    pool = NegativePool(corpus, np.array([4, 1, 7]))
    assert drawn(pool.same_category, 0) == {4}
    assert drawn(pool.same_category, 6) == {4, 1}
    assert drawn(pool.sibling, 0) == {1}
    assert drawn(NegativePool(corpus, np.array([], dtype=np.int64)).same_category, 0) == {None}


def test_an_item_that_occurs_many_times_is_never_its_own_negative(tmp_path):
    same = [Item("a", f"Sofa {number}", category=SOFAS) for number in range(200)]
    with CorpusWriter(tmp_path, {"name": "test"}) as writer:
        for item in same:
            writer.add(Record(item, text="sofa"))
        writer.add_catalog([Item("b", "Other", category=SOFAS)])
    corpus = Corpus(tmp_path)
    assert drawn(NegativePool(corpus, everything(corpus)).same_category, 0) == {200}


def test_draws_repeat_with_the_seed(corpus):
    pool = NegativePool(corpus, everything(corpus))
    rows = [[pool.same_category(5, rng) for _ in range(20)] for rng in (Random(3), Random(3), Random(4))]
    assert rows[0] == rows[1] != rows[2]


def test_missing_keys_at_a_range_end_find_nothing(corpus):
    pool = NegativePool(corpus, np.array([7]))
    assert pool.same_category(0, Random(0)) is None
    assert pool.sibling(0, Random(0)) is None


def test_training_sees_no_item_that_other_splits_alone_name(tmp_path):
    names = ["train", "both", "test", "dev-negative", "catalog", "test-a", "test-b", "mixed-a", "mixed-b"]
    groups = {"test-a": "t", "test-b": "t", "mixed-a": "m", "mixed-b": "m"}
    with CorpusWriter(tmp_path, {"name": "test"}) as writer:
        writer.add_catalog(Item(name, group=groups.get(name, "")) for name in names)
        writer.add(Record("train", text="q", negative="mixed-a"))
        writer.add(Record("both", text="q"))
        writer.add(Record("both", text="q", split="test"))
        writer.add(Record("test", text="q", split="test"))
        writer.add(Record("train", text="q", negative="dev-negative", split="dev"))
        writer.add(Record("test-a", text="q", split="test"))
        writer.add(Record("mixed-b", text="q", split="test"))
        writer.add(Record(Item("test", "the same product once more"), text="q", split="dev"))
        writer.add(Record(Item("train", "the same product once more"), text="q", split="dev"))
    corpus = Corpus(tmp_path)
    allowed = training_items(corpus, corpus.rows_of("train"))
    assert [corpus.item(row).id for row in allowed] == ["train", "both", "catalog", "mixed-a", "train"]
