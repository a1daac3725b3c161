"""The address of the page: what it holds, and what it makes of anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schema import MAX_KEYS, MAX_LEVELS, MAX_NAME, Filters, Range
from ui.address import MAX_FIELDS, MAX_SHOWN, PAGE_SIZE, Address

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = WORDS.filter(bool)
PART = st.integers(0, 1000).map(lambda thousandth: thousandth / 1000)
BOXES = st.tuples(PART, PART, PART, PART).filter(lambda box: box[0] < box[2] and box[1] < box[3])
FILTERS = st.builds(
    Filters,
    category=st.lists(NAMES, max_size=3),
    attributes=st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=3, unique=True), max_size=3),
    ranges=st.dictionaries(NAMES, st.builds(Range, min=st.integers(0, 10**9), max=st.integers(0, 10**9)), max_size=2),
)
ADDRESSES = st.builds(
    Address,
    words=WORDS,
    photo=WORDS,
    box=st.none() | BOXES,
    text_weight=st.integers(0, 100).map(lambda percent: percent / 100),
    filters=FILTERS,
    sort=st.sampled_from(["match", "price", "-price"]),
    shown=st.integers(PAGE_SIZE, MAX_SHOWN),
    product=WORDS,
)


@given(ADDRESSES)
def test_what_is_written_is_read_again(address: Address):
    assert Address.parse(str(address)) == address


@given(st.text(max_size=80))
def test_anything_can_be_read(query: str):
    assert isinstance(Address.parse(query), Address)


@pytest.mark.parametrize(
    "query", ["box=0,0,1", "box=nan,0,1,1", "box=.5,0,.5,1", "weight=x", "shown=inf", "min.price=-"]
)
def test_values_without_sense_count_as_left_out(query: str):
    assert Address.parse(f"?{query}") == Address()


def test_values_out_of_range_are_brought_into_it():
    assert Address.parse("?shown=99999&weight=-5&box=-3,0,7,1") == Address(
        shown=MAX_SHOWN, text_weight=0.0, box=(0.0, 0.0, 1.0, 1.0)
    )


def test_too_many_fields_are_not_read():
    assert Address.parse("&".join(f"is.a{n}=x" for n in range(MAX_FIELDS + 1))) == Address()


@pytest.mark.parametrize(
    "query",
    [
        "&".join(["category=x"] * (MAX_LEVELS + 1)),
        f"category={'x' * (MAX_NAME + 1)}",
        f"is.{'x' * (MAX_NAME + 1)}=y",
        f"is.color={'x' * (MAX_NAME + 1)}",
        "&".join(f"is.a{n}=x" for n in range(MAX_KEYS + 1)),
        "&".join(f"min.a{n}=1" for n in range(MAX_KEYS + 1)),
    ],
    ids=lambda query: f"{query[:8]}-{len(query)}",
)
def test_filters_that_are_too_large_count_as_left_out(query: str):
    assert Address.parse(f"q=chair&{query}") == Address("chair")


def test_as_many_values_as_an_address_holds_are_read():
    values = [f"v{n}" for n in range(MAX_FIELDS - 1)]
    read = Address.parse("q=chair&" + "&".join(f"is.brand={value}" for value in values))
    assert read.filters.attributes == {"brand": values}
