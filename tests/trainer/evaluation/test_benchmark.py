from __future__ import annotations

import pytest
from colour_model import tiny_shop

from app.errors import BadInputError
from trainer.data.record import Item, Record
from trainer.evaluation.benchmark import prepare

DEEP = ("Home", "Living", "Seats", "Chairs", "Bar stools")


def ids(benchmark, places=None) -> list[str]:
    rows = benchmark.gallery if places is None else benchmark.gallery[places]
    return [benchmark.corpus.item(row).id for row in rows]


def own_items(number: int, split: str, product: str | None = None) -> Record:
    """A row of MBE, which brings its product and hard negative."""
    return Record(
        Item(product or f"p{number}", f"product {number}", category=DEEP[: number + 1]),
        f"query {number}",
        negative=Item(f"n{number}", f"negative {number}"),
        split=split,
    )


def test_the_gallery_of_a_shop_is_every_product_once(tmp_path):
    items = [Item("a", "one"), Item("b", "two")]
    corpus = tiny_shop(tmp_path, items, [Record("b", "x", split="test"), Record(items[0], "y", split="test")])
    assert ids(prepare(corpus)) == ["a", "b"]


def test_the_gallery_of_mbe_is_the_products_of_the_split_once(tmp_path):
    records = [own_items(0, "train"), own_items(1, "test"), own_items(2, "test"), own_items(3, "test", "p1")]
    assert ids(prepare(tiny_shop(tmp_path, [], records, format="mbe"))) == ["p1", "p2"]


def test_label_texts_are_no_queries(tmp_path):
    records = [Record("a", text, segment=where, split="test") for text, where in (("x", "category"), ("y", "title"))]
    benchmark = prepare(tiny_shop(tmp_path, [Item("a", "one")], records))
    assert [benchmark.corpus.record(row).text for row in benchmark.queries] == ["y"]


def test_a_limit_draws_queries_and_keeps_the_gallery(tmp_path):
    corpus = tiny_shop(
        tmp_path, [Item(str(n), str(n)) for n in range(20)], [Record(str(n), "q", split="test") for n in range(20)]
    )
    drawn = [prepare(corpus, limit=6, seed=seed) for seed in (0, 0, 1)]
    assert [len(benchmark.gallery) for benchmark in drawn] == [20, 20, 20]
    assert drawn[0].queries.tolist() == sorted(drawn[0].queries.tolist())
    assert len(drawn[0].queries) == len(drawn[0].classified) == 6
    assert drawn[0].queries.tolist() == drawn[1].queries.tolist() != drawn[2].queries.tolist()


def test_categories_are_cut_at_level_four(tmp_path):
    records = [own_items(number, "test") for number in (1, 4)]
    benchmark = prepare(tiny_shop(tmp_path, [], records, format="mbe"))
    assert benchmark.labels == ["Home > Living", "Home > Living > Seats > Chairs"]
    assert benchmark.tops == ["Home", "Home"]


def test_products_that_were_bought_are_classified_and_in_m5product_all(tmp_path):
    items, records = [Item(n, n) for n in "abcd"], [Record("b", "x", split="test"), Record("b", "y", split="test")]
    shop = prepare(tiny_shop(tmp_path / "shop", items, records))
    assert ids(shop, shop.classified) == ["b"]
    m5 = prepare(tiny_shop(tmp_path / "m5", items, records, format="m5"))
    assert ids(m5, m5.classified) == ["a", "b", "c", "d"]


def test_a_split_without_queries_is_named(tmp_path):
    corpus = tiny_shop(tmp_path, [Item("a", "one")], [Record("a", "x")])
    with pytest.raises(BadInputError, match="tiny has no queries in the split 'test'; choose another with --split"):
        prepare(corpus)
