"""How texts become words, and words become BM25 weights."""

from __future__ import annotations

import pytest

from app.schema import Product
from app.store.words import MAX_QUERY_WORDS, mean_length, product_words, query_words, text_length, words

LAMP = Product(id="1", title="Desk lamp", category=["Lighting"], attributes={"color": ["red"]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Red ARM-chair, 2er_Set!", ["red", "arm", "chair", "2er", "set"]),
        ("Fußbank ｆｕｌｌ", ["fussbank", "full"]),
        ("кресло καρέκλα", ["кресло", "καρέκλα"]),
        ("कुर्सी", ["कुर्सी"]),
        ("扶手椅", ["扶", "手", "椅", "扶手", "手椅"]),
        ("IKEA灯 2", ["ikea", "灯", "2"]),
        (" \x00 … 👩‍👩‍👧 ", []),
    ],
)
def test_texts_of_all_scripts_become_words(text: str, expected: list[str]):
    assert list(words(text)) == expected


def test_a_word_has_the_same_number_in_queries_and_products_and_in_every_run():
    assert query_words("LAMP lamp desk") == [2583122534, 91104358]
    assert set(query_words("red desk lamp lighting")) == set(product_words(LAMP, 5))


def test_a_product_without_words_has_no_weights():
    assert product_words(Product(id="1", images=["a.jpg"]), 5) == {}
    assert product_words(LAMP, 0.0) == {}
    assert query_words("?!") == []


def test_only_the_first_words_of_a_long_query_are_searched_for():
    assert len(query_words(" ".join(map(str, range(1000))))) == MAX_QUERY_WORDS


def test_repeated_words_weigh_more_and_long_texts_make_each_word_weigh_less():
    [lamp] = query_words("lamp")
    once, twice, longer = (
        product_words(Product(id="1", title=title), 2)[lamp]
        for title in ("desk lamp", "lamp lamp", "big red desk lamp")
    )
    assert 0 < longer < once < twice < 1


def test_words_of_other_languages_are_found_and_leave_the_weights_of_the_others_alone():
    german = LAMP.model_copy(update={"titles": {"de": "Rote Tischlampe", "nl": "lamp"}})
    plain, both = product_words(LAMP, 4), product_words(german, 4)
    assert {number: both[number] for number in plain} == plain
    assert set(both) - set(plain) == set(query_words("rote tischlampe"))
    assert text_length(german) == text_length(LAMP) == 4


def test_the_mean_length_leaves_out_products_without_words():
    assert mean_length(map(text_length, [LAMP, Product(id="2", title="sofa bed"), Product(id="3")])) == 3.0
    assert mean_length([text_length(Product(id="3"))]) == 0.0
