from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import pytest

from app.errors import CatalogError
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.record import Item, Record
from trainer.data.splits import DEV_EVERY, training_rows


@pytest.fixture
def make(tmp_path) -> Callable[..., Corpus]:
    def write(records: Iterable[Record], catalog: Iterable[Item] = (), name: str = "shop") -> Corpus:
        with CorpusWriter(tmp_path / name, {"name": name, "format": "shop"}) as writer:
            writer.add_catalog(catalog)
            for record in records:
                writer.add(record)
        return Corpus(tmp_path / name)

    return write


def products(corpus: Corpus, rows: Iterable[int]) -> set[str]:
    return {corpus.item(corpus.record(row).positive).id for row in rows}


def test_the_splits_of_the_data_are_kept_and_the_test_split_is_left_alone(make):
    splits = ("train", "dev", "test", "train", "dev", "train")
    corpus = make(Record(Item(str(n), f"Chair {n}"), "chair", split=split) for n, split in enumerate(splits))
    found = training_rows(corpus)
    assert found.train.tolist() == [0, 3, 5]
    assert found.dev.tolist() == [1, 4]


def test_without_a_development_split_one_product_in_fifty_makes_one(make, caplog):
    catalog = [Item(str(n), f"Chair {n}") for n in range(2000)]
    corpus = make((Record(str(n % 2000), f"chair {n}") for n in range(4000)), catalog)
    with caplog.at_level(logging.INFO):
        found = training_rows(corpus)
    assert len(found.dev) / corpus.records == pytest.approx(1 / DEV_EVERY, rel=0.4)
    assert sorted([*found.train, *found.dev]) == list(range(corpus.records))
    assert not products(corpus, found.train) & products(corpus, found.dev)
    assert f"{len(found.dev)} records" in caplog.text


def test_the_colours_of_a_model_are_held_out_together(make):
    catalog = [Item(f"{n}-{colour}", f"{colour} {n}", group=f"g{n}") for n in range(300) for colour in ("red", "blue")]
    corpus = make([Record(item.id, item.title) for item in catalog], catalog)
    held_out = products(corpus, training_rows(corpus).dev)
    assert held_out
    assert {key.replace("red", "blue") for key in held_out} == {key for key in held_out if "blue" in key}


def test_a_product_is_held_out_in_every_order_and_extension_of_the_data(make):
    catalog = [Item(str(n), f"Chair {n}") for n in range(400)]
    corpora = [
        make([Record(item.id, "chair") for item in part], part, name)
        for part, name in ((catalog[:200], "a"), (catalog[::-1], "b"))
    ]
    first, second = (products(corpus, training_rows(corpus).dev) for corpus in corpora)
    assert first <= second


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_few_products_still_leave_one_for_development(make, count):
    corpus = make(Record(Item(str(n), f"Chair {n}"), "chair") for n in range(count))
    found = training_rows(corpus)
    assert len(products(corpus, found.dev)) == 1
    assert len(found.train) == count - 1


def test_data_without_training_records_are_refused(make):
    corpus = make(Record(Item(str(n), f"Chair {n}"), "chair", split="test") for n in range(4))
    with pytest.raises(CatalogError, match="shop: 0 training records; check the splits"):
        training_rows(corpus)


def test_the_home_set_trains_on_its_training_designs(corpus, home):
    found = training_rows(corpus)
    split = {p.product.id: p.split for p in home.products}
    assert {split[key] for key in products(corpus, found.train)} == {"train"}
    assert {split[key] for key in products(corpus, found.dev)} == {"dev"}
