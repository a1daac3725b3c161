"""The tabs for whoever runs the shop: Compare and Status."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from app.schema import Hit, Product
from app.serving import Service
from tests.ui.sample_shop import HOSTILE_TITLES, service
from ui.compare import Comparing, side_by_side
from ui.status import age, status

BUILD = "20261121T060000-1a2b3c"


def hits(*ids: str) -> list[Hit]:
    return [Hit(product=Product(id=name, title=f"Title of {name}"), score=0.5) for name in ids]


def test_each_side_says_where_the_other_has_a_product():
    shown = side_by_side(("old", hits("a", "b", "c")), ("new", hits("a", "c", "d")))
    rows = re.findall(r"<li>.*?</li>", shown)
    assert "2 of the best 3 are on both sides" in shown
    assert ["there" in row for row in rows] == [False, False, True, False, True, False]
    assert ["only here" in row for row in rows] == [False, True, False, False, False, True]


def test_texts_of_the_catalog_are_escaped_on_both_sides():
    found = [Hit(product=Product(id="1", title=title), score=0.5) for title in HOSTILE_TITLES]
    shown = side_by_side(("old", found), ("new", found))
    assert not any(title in shown for title in HOSTILE_TITLES)


def test_an_empty_query_becomes_a_notice(shop_service: Service):
    assert 'role="alert"' in Comparing(shop_service).compare(" ", None, "FUSED ", "MEANING ")


def test_the_status_names_model_build_and_counts(shop_service: Service):
    shown = status(shop_service)
    for fact in ("colour-words", BUILD, "44", "MB", "yes"):
        assert fact in shown


def test_the_status_tells_how_long_answers_take(shop_service: Service):
    shop_service.metrics.observe({"embed": 12.0, "total": 34.5})
    shown = status(shop_service)
    assert "<td>total</td>" in shown
    assert "95 % within" in shown


def test_the_age_is_told_in_the_largest_unit_that_fits():
    created = datetime(2026, 1, 1, tzinfo=UTC)
    spans = {
        "2 days": timedelta(days=2, hours=23),
        "1 hour": timedelta(minutes=61),
        "less than a minute": timedelta(seconds=59),
    }
    assert [age(created, now=created + span) for span in spans.values()] == list(spans)


def test_without_an_index_the_status_says_how_to_build_one(tmp_path):
    running = service(tmp_path, [])
    assert "indexer rebuild" in status(running)
    running.close()


@pytest.mark.browser
def test_one_query_is_compared_in_two_ways(open_page: Callable[..., Page], shop_url: str):
    page = open_page(shop_url)
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Query", exact=True).fill("purple skirt")
    page.get_by_label("Right").click()
    page.get_by_role("option", name="Published build, words").click()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared h2")).to_have_text(["Published build, meaning and words", "Published build, words"])
    expect(page.locator("#compared ol").first.locator("li a").first).to_have_text("Purple skirt")


@pytest.mark.browser
def test_the_status_is_read_when_its_tab_is_opened(open_page: Callable[..., Page], shop_url: str):
    page = open_page(shop_url)
    page.get_by_role("tab", name="Status").click()
    expect(page.get_by_role("region", name="Kept builds")).to_contain_text(BUILD)
