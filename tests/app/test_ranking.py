from __future__ import annotations

import pytest

from app.errors import BadInputError
from app.ranking import MATCHES, SORTED, order_of, page
from app.schema import Hit, Product


def matches(count: int = 3000, group_size: int = 3, asked: list[int] | None = None):
    """Products in groups of so many, the best match being the most expensive; every tenth has no price."""
    hits = [
        Hit(
            product=Product(
                id=str(n), group_id=f"g{n // group_size}", numbers={"price": float(count - n)} if n % 10 else {}
            ),
            score=1 - n / count,
        )
        for n in range(count)
    ]

    def read(limit: int, offset: int) -> list[Hit]:
        if asked is not None:
            asked.append(offset)
        return hits[offset : offset + limit]

    return read


def numbers(hits: list[Hit]) -> list[int]:
    return [int(hit.product.id) for hit in hits]


def test_by_match_a_page_is_read_as_it_is():
    assert numbers(page(matches(), 5, 7)) == [7, 8, 9, 10, 11]


def test_pages_of_groups_show_the_best_of_each_and_continue_each_other():
    whole = numbers(page(matches(), 100, 0, group=True))
    assert whole == list(range(0, 300, 3))
    assert [n for at in range(0, 100, 20) for n in numbers(page(matches(), 20, at, group=True))] == whole


def test_no_more_is_read_than_a_page_of_groups_needs():
    asked: list[int] = []
    page(matches(asked=asked), 24, 0, group=True)
    assert asked == [0]


def test_groups_end_where_reading_ends():
    assert len(page(matches(), 3000, 0, group=True)) == -(-MATCHES // 3)


@pytest.mark.parametrize("group", [False, True])
def test_only_the_best_matches_are_sorted_and_unpriced_ones_come_last(group):
    order = order_of("price", ["price"])
    found = page(matches(), 200, 0, order, group)
    assert sorted(numbers(found)) == [n * (3 if group else 1) for n in range(SORTED)]
    prices = [hit.product.numbers.get("price", float("inf")) for hit in found]
    assert prices == sorted(prices)
    assert prices[-1] == float("inf")
    assert page(matches(), 50, 25, order, group) == found[25:75]


def test_the_highest_price_first_keeps_unpriced_ones_last():
    found = numbers(page(matches(), 100, 0, order_of("-price", ["price"])))
    assert found == [n for n in range(100) if n % 10] + list(range(0, 100, 10))


@pytest.mark.parametrize("sort", ["weight", "-weight", "", "-match"])
def test_an_unknown_order_is_refused_with_what_there_is(sort):
    with pytest.raises(BadInputError, match="it has: match, price"):
        order_of(sort, ["price"])
