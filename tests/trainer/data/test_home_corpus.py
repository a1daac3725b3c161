from __future__ import annotations

import itertools
from collections import defaultdict

import pytest

from trainer.data.home_corpus import answers_of
from trainer.data.open import open_corpus


@pytest.fixture(scope="module")
def corpus(home_folder, tmp_path_factory):
    return open_corpus(home_folder, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def records(corpus):
    return [corpus.record(row) for row in range(corpus.records)]


@pytest.fixture(scope="module")
def train(records):
    return [record for record in records if record.split == "train"]


def product_of(corpus, record):
    return corpus.item(record.positive)


def test_items_are_the_catalog_with_absolute_pictures(corpus, home, home_folder):
    assert corpus.info["format"] == "home"
    items = [corpus.item(row) for row in range(corpus.items)]
    assert [item.id for item in items] == [product.product.id for product in home.products]
    assert items[0].pictures[0].location == str(home_folder / home.products[0].product.images[0])
    assert items[0].group == home.products[0].product.group_id


def test_answers_are_kinds_with_and_without_colour_category_levels_and_values(home):
    red = next(p for p in home.products if p.kinds == ("chair",) and p.product.id.endswith("red"))
    assert set(answers_of(red)) == {
        *("kind:chair", "kind:chair|red"),
        *("category:Home", "category:Home > Seats", "category:Home > Seats > chair"),
        *("value:color: red", "value:material: wood"),
    }


def test_training_photos_show_no_test_design(records, home, home_folder):
    hidden = {str(home_folder / p.path) for p in home.photos if p.shows_test_model or p.split == "test"}
    for record in records:
        if record.split != "test" and record.picture:
            assert record.picture.location not in hidden
            assert record.picture.box


def test_every_split_names_only_its_own_products(corpus, records, home):
    splits = {p.product.id: p.split for p in home.products}
    assert {record.split for record in records} == {"train", "dev", "test"}
    for record in records:
        assert splits[product_of(corpus, record).id] == record.split
        if record.negative is not None:
            assert splits[corpus.item(record.negative).id] == record.split


def test_hard_negatives_are_no_right_answers(corpus, records):
    with_negative = [record for record in records if record.negative is not None]
    assert with_negative
    for record in with_negative:
        assert record.negative != record.positive
        assert not record.meaning or record.meaning not in corpus.item(record.negative).answers


def test_the_positive_has_what_the_words_mean(corpus, records):
    assert all(not r.meaning or r.meaning in product_of(corpus, r).answers for r in records)


def test_every_photo_is_asked_alone_with_the_title_and_with_the_name(corpus, train):
    photos = defaultdict(set)
    for record in train:
        if record.picture:
            photos[record.picture.location].add((record.text, record.modalities))
    assert len(photos) == 5 * 2 * 2 - 2
    for location, asked in photos.items():
        colour, kind = ("Red" if "red" in location else "Blue"), location.rsplit("/", 1)[1].split("-")[0]
        assert (f"{colour} {kind}", ("image", "both")) in asked
        assert (kind.capitalize(), ("both",)) in asked


def test_a_wish_for_another_colour_wants_the_sibling_and_not_the_product_of_the_photo(corpus, train):
    wishes = [r for r in train if r.modalities == ("both",) and "in blue" in r.text]
    assert {r.text for r in wishes} >= {"in blue", "the same in blue", "same chair but in blue"}
    for record in wishes:
        positive, negative = product_of(corpus, record), corpus.item(record.negative)
        assert positive.id == negative.id.replace("red", "blue")
        assert f"{negative.id}_p" in record.picture.location


def shares(corpus, records, modality):
    """Weight by product of the photo or of the words."""
    found = defaultdict(float)
    for record in records:
        if modality in record.modalities:
            key = record.picture.location.rsplit("_p", 1)[0] if record.picture else record.positive
            found[key] += record.weight
    return found


@pytest.mark.parametrize("modality", ["image", "text", "both"])
def test_within_a_modality_every_product_weighs_the_same(corpus, train, modality):
    found = shares(corpus, train, modality)
    assert len(found) == 10
    assert max(found.values()) == pytest.approx(min(found.values()), rel=1e-4)


def test_texts_are_names_titles_phrases_and_labels_in_their_shares(corpus, train):
    texts = [r for r in train if r.modalities == ("text",)]
    total = sum(r.weight for r in texts)
    labels = {
        segment: sum(r.weight for r in texts if r.segment == segment) / total for segment in ("category", "attribute")
    }
    assert labels == pytest.approx({"category": 0.13, "attribute": 0.07}, rel=1e-4)
    titles = sum(r.weight for r in texts if r.text == product_of(corpus, r).title) / total
    assert titles == pytest.approx(0.15, rel=1e-4)
    found = {(r.text, r.meaning) for r in texts}
    assert ("lampe", "kind:lamp") in found
    assert ("old lamp", "kind:lamp") in found
    assert ("red a lamp for me", "kind:lamp|red") in found
    assert ("Home > Things", "category:Home > Things") in found
    assert ("material: wood", "value:material: wood") in found


def test_wishes_are_six_in_ten_of_the_queries_of_photo_and_text(train):
    both = [r for r in train if "both" in r.modalities]
    wishes = sum(r.weight for r in both if " in " in f" {r.text}" or "version" in r.text)
    assert wishes / sum(r.weight for r in both) == pytest.approx(0.6, rel=1e-3)


def test_no_record_comes_twice(train):
    keys = [(r.text, r.picture, r.positive, r.meaning, r.segment, r.modalities) for r in train]
    assert len(keys) == len(set(keys))


def test_the_test_split_is_its_photos_text_queries_and_mixed_queries(corpus, records, home):
    test = [record for record in records if record.split == "test"]
    by_modality = {name: [r for r in test if r.modalities == (name,)] for name in ("image", "text", "both")}
    assert len(by_modality["image"]) == sum(p.split == "test" for p in home.photos)
    assert [r.text for r in by_modality["text"]] == home.queries["text"].to_list()
    for record, right in zip(by_modality["text"], home.queries["relevant_product_ids"], strict=True):
        assert {product_of(corpus, record).id, *record.also_right} == set(right)
    mixed = by_modality["both"][0]
    assert (mixed.text, corpus.item(mixed.negative).id[-3:]) == ("in blue", "red")
    assert product_of(corpus, mixed).id.endswith("blue")


def test_the_same_folder_gives_the_same_records(home_folder, corpus, records, tmp_path):
    again = open_corpus(home_folder, cache=tmp_path)
    assert all(again.record(row) == record for row, record in itertools.islice(enumerate(records), 0, None, 5))
