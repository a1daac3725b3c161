import doctest
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog import fields

words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
names = st.lists(words, min_size=1, max_size=3).map(" ".join)


def test_the_examples_in_the_documentation_hold():
    assert doctest.testmod(fields).failed == 0


@given(
    st.lists(names, min_size=1, max_size=5),
    st.sampled_from(
        [" > ", ">", " -> ", " => ", " >> ", " » ", " › ", " → ", "::", " | ", "|", "\\", "; ", " / ", "/"]
    ),
)
def test_a_category_path_survives_every_separator(path, separator):
    assert fields.category(separator.join(path)) == path


@given(st.lists(names, min_size=1, max_size=5))
def test_a_category_list_and_its_json_give_the_same_path(path):
    assert fields.category(path) == fields.category(json.dumps(path)) == path


@given(st.dictionaries(words, st.lists(words, min_size=1, max_size=3, unique=True), max_size=4))
def test_attributes_survive_the_way_through_json(attributes):
    cells = fields.mapping(json.dumps(attributes))
    assert {key: fields.keywords(cell) for key, cell in cells.items()} == attributes


@given(st.floats(0, 1e9).map(lambda value: round(value, 2)))
def test_prices_survive_both_spellings(price):
    english = f"{price:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert fields.number(f"${english}") == fields.number(f"{german} €") == fields.number(price) == price


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1.299 €", 1299.0),
        ("1.299 m", 1.299),
        ("1,299", 1299.0),
        ("0,125", 0.125),
        ("1'299.00 CHF", 1299.0),
        ("CHF 1’299.–", 1299.0),
        ("Rs. 1,29,900.50", 129900.5),
        ("₹12,34,567", 1234567.0),
        ("US$ 5", 5.0),
        ("￥１，２９９", 1299.0),
        ("12.50 p.p.", 12.5),
        ("1 299,50 kr", 1299.5),
        ("1\u00a0299,50 €", 1299.5),
        ("$1,234,567.89", 1234567.89),
        ("EUR 5,-", 5.0),
        ("12 cm", 12.0),
        ("-3", -3.0),
        (7, 7.0),
        ("  ", None),
        (None, None),
    ],
)
def test_numbers_are_understood(cell, expected):
    assert fields.number(cell) == expected


@pytest.mark.parametrize("cell", ["10-20", "abc", "1.2.3", "nan", "inf", "1e400", 10**400, True, [1], {"a": 1}])
def test_what_is_no_number_is_refused(cell):
    with pytest.raises(ValueError, match="number"):
        fields.number(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a.jpg", ["/shop/a.jpg"]),
        ("a.jpg,b.png", ["/shop/a.jpg", "/shop/b.png"]),
        ("a, b.jpg", ["/shop/a, b.jpg"]),
        ("a.jpg | b.jpg", ["/shop/a.jpg", "/shop/b.jpg"]),
        ("a.jpg;a.jpg", ["/shop/a.jpg"]),
        ("a.jpg\nb.jpg\n", ["/shop/a.jpg", "/shop/b.jpg"]),
        ('["a.jpg", "https://x.org/b"]', ["/shop/a.jpg", "https://x.org/b"]),
        (["sub/a.jpg", None, ""], ["/shop/sub/a.jpg"]),
        ("/abs/a.jpg", ["/abs/a.jpg"]),
        ("https://x.org/w_1,h_2/a.jpg", ["https://x.org/w_1,h_2/a.jpg"]),
        ("https://x.org/a.jpg,https://x.org/b.jpg", ["https://x.org/a.jpg", "https://x.org/b.jpg"]),
        ("s3://bucket/a.jpg", ["s3://bucket/a.jpg"]),
        (None, []),
    ],
)
def test_picture_lists_are_understood(cell, expected):
    assert fields.pictures(cell, Path("/shop")) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (True, "true"),
        (float("nan"), ""),
        ("a\n  b", "a b"),
        (3, "3"),
        (0.5, "0.5"),
        ("lone \ud800 half", "lone ? half"),
    ],
)
def test_text_is_one_clean_line(cell, expected):
    assert fields.text(cell) == expected


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "example.org"])
def test_a_link_must_be_a_web_address(address):
    with pytest.raises(ValueError, match="not an http"):
        fields.link(address)


@pytest.mark.parametrize("cell", ["{broken", "plain text", 5, ["list"]])
def test_what_is_no_mapping_is_refused(cell):
    with pytest.raises(ValueError, match="JSON"):
        fields.mapping(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('["red", "dark blue"]', ["red", "dark blue"]),
        ("['red', 'dark blue']", ["red", "dark blue"]),
        ("red|dark blue", ["red", "dark blue"]),
        ("red; dark blue;", ["red", "dark blue"]),
        ("red, dark blue", ["red, dark blue"]),
        ("[sale] red", ["[sale] red"]),
        (["red", None, 3.0], ["red", "3"]),
        (fields.Several(["red|blue", "blue", None, "oak"]), ["red", "blue", "oak"]),
    ],
)
def test_lists_of_values_are_understood(cell, expected):
    assert fields.separated_keywords(cell) == expected


@given(st.lists(names, min_size=1, max_size=4, unique=True))
def test_pictures_of_several_columns_are_one_list(locations):
    cells = fields.Several([locations[0], locations[1:], None])
    assert fields.pictures(cells, Path("/shop")) == [f"/shop/{name}" for name in locations]


@given(
    st.integers(0, 10**7),
    st.integers(0, 99),
    st.sampled_from(["{} €", "€{}", "{} EUR", "EUR {}", "{}", "CHF {}", "{} kr"]),
    st.sampled_from([",.", ".,", " ,", "'.", "’.", "\u00a0,", "_.", "_,"]),
)
def test_prices_survive_every_spelling(whole, cents, pattern, marks):
    thousands, decimal = marks
    grouped = f"{whole:,}".replace(",", "" if thousands == "_" else thousands)
    assert fields.number(pattern.format(f"{grouped}{decimal}{cents:02d}")) == whole + cents / 100
