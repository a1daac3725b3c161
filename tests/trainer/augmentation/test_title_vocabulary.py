from __future__ import annotations

import pytest

from trainer.augmentation import vocabulary as module
from trainer.augmentation.vocabulary import Vocabulary, read_vocabulary
from trainer.data.record import Item


def read(*titles: str) -> Vocabulary:
    return read_vocabulary((Item(str(n), title) for n, title in enumerate(titles)), len(titles))


def test_a_word_is_usual_if_two_products_with_different_titles_write_it_in_small_letters():
    found = read("Red chair", "Blue chair", "Red lamp", "red LAMP!", "Red sofa", "Tall Sofa", "tall shelf")
    assert found.usual == {"chair"}


def test_words_come_from_titles_categories_and_values_but_not_from_those_that_name():
    items = [
        Item(str(n), f"{n}", category=("Tall things",), attributes={"color": ("sea blue",), "Brand name": ("acme",)})
        for n in range(2)
    ]
    found = read_vocabulary(items, 2)
    assert found.usual == {"things", "sea", "blue"}
    assert found.names == {("acme",)}


@pytest.mark.parametrize("key", ["brand", "Marke", "model_number", "Model name", "品牌"])
def test_names_are_the_values_of_keys_that_name(key):
    assert read_vocabulary([Item("1", "x", attributes={key: ("Fritz Hansen",)})], 1).names == {("fritz", "hansen")}


def test_long_values_and_values_of_other_keys_are_no_names():
    item = Item("1", "x", attributes={"brand": ("a b c d e", "--"), "color": ("Red",)})
    assert read_vocabulary([item], 1).names == frozenset()


def test_pairs_of_characters_stand_for_words_where_there_are_no_spaces():
    found = read("简约桌", "简约椅", "大 桌", "大 椅子")
    assert found.usual == {"简约", "大"}


ENGLISH = ("chair with a soft seat", "bench with a soft seat", "soft stool for two", "big soft sofa", "big stool")
GERMAN = ("stuhl mit polster", "bank mit polster", "weiches sofa für die küche", "weiches polster", "weiches kissen")


def test_texts_without_function_words_get_the_language_of_those_that_share_their_words():
    found = read(*ENGLISH, *GERMAN)
    assert (found.language(["big"]), found.language(["weiches"])) == ("en", "de")
    assert found.allows("big", "en")
    assert found.allows("weiches", "de")
    assert not found.allows("big", "de")
    assert not found.allows("weiches", "en")
    assert found.allows("sofa", "en")
    assert found.allows("sofa", "de")


def test_without_any_function_word_all_texts_share_a_language_that_is_not_known():
    found = read("stor stol", "stor soffa", "stor lampa")
    assert found.language(["stor"]) == ""
    assert found.allows("stor", "")
    assert not found.allows("stor", "en")


def test_words_of_many_products_are_those_of_evenly_drawn_ones_and_names_those_of_all(monkeypatch):
    monkeypatch.setattr(module, "LOOKED_AT", 2)
    items = [Item(str(n), f"word{n} same", attributes={"brand": (f"brand{n}",)}) for n in range(5)]
    found = read_vocabulary(items, 5)
    assert set(found.places) == {"word0", "word3", "same"}
    assert len(found.names) == 5


def test_an_empty_catalog_allows_nothing():
    found = read_vocabulary([], 0)
    assert found.language(["chair"]) == ""
    assert not found.allows("chair", "")
