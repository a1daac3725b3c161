from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from app.schema import Product
from trainer.data.home import HomeProduct, HomeSet, split_of
from trainer.training.examples import Example, Input, TripletSampler, false_negatives, relevance


def item(key: str, group: str, kind: str, colour: str) -> HomeProduct:
    product = Product(
        id=key, group_id=group, title=f"{colour} {kind}", category=["Home", kind], attributes={"color": [colour]}
    )
    return HomeProduct(product, "train", (kind,), (("en", kind),), ())


PRODUCTS = {
    p.product.id: p
    for p in (
        item("a-red", "a", "chair", "red"),
        item("a-blue", "a", "chair", "blue"),
        item("b-red", "b", "chair", "red"),
        item("c-red", "c", "table", "red"),
        item("d-red", "d", "lamp", "red"),
    )
}


def triplet(same: str, positive: str, negative: str) -> Example:
    return Example(Input(), Input(), Input(), positive, negative, same)


def test_other_products_that_the_words_mean_are_masked():
    batch = [triplet("kind:chair", "a-red", "c-red"), triplet("kind:table", "c-red", "b-red")]
    assert false_negatives(batch, PRODUCTS) == [[False, False, False, True], [False, False, True, False]]


def test_other_colours_of_the_positives_model_are_masked_but_not_the_chosen_hard_negative():
    recoloured = triplet("sku:a-blue", "a-blue", "a-red")
    other = triplet("sku:d-red", "d-red", "a-red")
    assert false_negatives([recoloured, other], PRODUCTS)[0] == [False, False, False, True]


def test_a_hard_negative_that_answers_the_query_is_masked():
    assert false_negatives([triplet("kind:chair|red", "a-red", "b-red")], PRODUCTS) == [[False, True]]


def test_relevance_holds_kinds_colours_categories_and_values():
    assert relevance(PRODUCTS["a-red"]) == {
        *("sku:a-red", "kind:chair", "kind:chair|red", "category:Home", "category:Home > chair", "value:color: red")
    }


def batches(home: HomeSet, seed: int, count: int, size: int = 4) -> list[list[Example]]:
    return list(islice(TripletSampler(home, seed).batches(size), count))


@pytest.mark.parametrize("seed", range(5))
def test_a_querys_own_positive_is_never_masked(home, seed):
    products = TripletSampler(home, 0).products
    for batch in batches(home, seed, 20):
        masks = false_negatives(batch, products)
        assert not any(masks[row][row] for row in range(len(batch)))
        assert all(batch[row].same in relevance(products[batch[row].positive_id]) for row in range(len(batch)))


def test_the_same_seed_gives_the_same_triplets_and_another_seed_others(home):
    assert batches(home, 7, 10) == batches(HomeSet(home.root), 7, 10)
    assert batches(home, 7, 10) != batches(home, 8, 10)


def modality(query: Input) -> str:
    return "both" if query.views and query.text else "image" if query.views else "text"


def test_queries_are_mixed_12_to_3_to_2(home):
    sampler = TripletSampler(home, 0)
    counts = Counter(modality(sampler.example().query) for _ in range(3000))
    for name, share in (("image", 12 / 17), ("text", 3 / 17), ("both", 2 / 17)):
        assert counts[name] / 3000 == pytest.approx(share, abs=0.03)


def test_only_training_products_and_photos_without_test_designs_are_sampled(home):
    splits = {p.product.id: p.split for p in home.products}
    allowed = {p.path for p in home.photos if p.split == "train" and not p.shows_test_model}
    allowed |= {path for p in home.products if p.split == "train" for path in p.product.images}
    for batch in batches(home, 1, 100):
        for example in batch:
            assert splits[example.positive_id] == splits[example.negative_id] == "train"
            views = [view for part in (example.query, example.positive, example.negative) for view, _ in part.views]
            assert {view.path for view in views} <= allowed


def test_a_batch_holds_every_design_once(home):
    groups = {p.product.id: p.product.group_id for p in home.products}
    for batch in batches(home, 2, 50):
        assert len({groups[example.positive_id] for example in batch}) == len(batch)


def test_targets_always_have_pictures(home):
    assert all(example.positive.views for batch in batches(home, 3, 50) for example in batch)


def test_a_negative_that_answers_the_query_is_always_masked(home):
    products = TripletSampler(home, 0).products
    for batch in batches(home, 3, 50):
        masks = false_negatives(batch, products)
        for row, example in enumerate(batch):
            answers = example.same in relevance(products[example.negative_id])
            assert masks[row][len(batch) + row] == answers
            assert answers or example.negative_id != example.positive_id


def test_label_queries_never_meet_documents_that_hold_the_label(home):
    labels = [e for batch in batches(home, 4, 200) for e in batch if e.same.startswith(("category:", "value:"))]
    assert labels
    for example in labels:
        for document in (example.positive, example.negative):
            assert "<|category|>" not in document.text
            assert "<|attribute|>" not in document.text


def test_splits_are_stable_and_disjoint(home):
    assert [n for n in range(40) if split_of(f"design-{n}", "train") == "dev"] == [8, 21, 29, 32, 36, 38]
    assert {split_of(f"design-{n}", "test") for n in range(50)} == {"test"}
    share = sum(split_of(f"design-{n}", "train") == "dev" for n in range(5000)) / 5000
    assert share == pytest.approx(0.12, abs=0.02)
    groups = {split: {p.product.group_id for p in home.products if p.split == split} for split in SPLITS}
    assert all(groups.values())
    assert sum(map(len, groups.values())) == len(set.union(*groups.values()))


SPLITS = ("train", "dev", "test")
