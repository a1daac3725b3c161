"""Searching on the page: live results, the address, the photo and its frame, and a server that is slow or gone."""

from __future__ import annotations

import re
import threading
from functools import partial

import pytest
from playwright.sync_api import Route, expect

from app.serving import Service
from tests.ui.driving import EXAMPLE, WINDOWS, OpenPage, entries, field, heading, unfold_filters, words
from tests.ui.sample_shop import HOSTILE_TITLES

pytestmark = pytest.mark.browser

SHIFTS = """new PerformanceObserver((list) => list.getEntries().forEach((shift) => {
  window.shifted = (window.shifted ?? 0) + shift.value; })).observe({ type: 'layout-shift', buffered: true })"""
STILL = 0.002
"""Layout shift (Core Web Vitals call 0.1 good) below which nothing moved but the ends of some texts."""


@pytest.fixture(params=WINDOWS)
def open_page(open_page: OpenPage, request: pytest.FixtureRequest) -> OpenPage:
    """Every test of this module on a light desktop and on a dark phone."""
    return partial(open_page, **request.param)


def test_results_follow_the_typing_in_one_entry_of_the_history_and_nothing_jumps(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    page.locator(".landing").wait_for()
    before = entries(page)
    words(page).press_sequentially("white")
    expect(heading(page)).to_have_text("Best 24 matches for white")
    page.wait_for_function("[...document.images].every((picture) => picture.loading == 'lazy' || picture.complete)")
    page.evaluate("window.shifted = 0")
    page.evaluate(SHIFTS.replace(", buffered: true", ""))
    words(page).press_sequentially(" bed")
    expect(heading(page)).to_have_text("Best 24 matches for white bed")
    assert page.evaluate("window.shifted ?? 0") < STILL
    assert entries(page) == before + 1
    expect(words(page)).to_be_focused()
    words(page).press("Enter")
    words(page).fill("lamp")
    expect(heading(page)).to_have_text("Best 24 matches for lamp")
    assert entries(page) == before + 2
    page.go_back()
    expect(heading(page)).to_have_text("Best 24 matches for white bed")
    page.go_back()
    expect(page.locator(".landing")).to_be_visible()
    expect(words(page)).to_have_value("")


def test_one_search_runs_at_a_time_and_the_latest_wins(
    open_page: OpenPage, shop_url: str, shop_service: Service, monkeypatch: pytest.MonkeyPatch
):
    asked, running, most = [], [0], [0]
    go_on = threading.Event()
    embed = shop_service.engine.search

    def slow_search(query, *args, **options):
        asked.append(query.text)
        running[0] += 1
        most[0] = max(most[0], running[0])
        assert go_on.wait(15)
        running[0] -= 1
        return embed(query, *args, **options)

    page = open_page(f"{shop_url}?q=chair")
    expect(page.locator(".card")).to_have_count(24)
    monkeypatch.setattr(shop_service.engine, "search", slow_search)
    for text in ("bed", "lamp", "table"):
        words(page).fill(text)
        page.wait_for_url(f"**/?q={text}")
    expect(page.locator(".waiting .card").first).to_be_visible()
    expect(page.get_by_text("Still searching")).to_be_visible()
    go_on.set()
    expect(heading(page)).to_have_text("Best 24 matches for table")
    expect(page.locator(".waiting")).to_have_count(0)
    expect(page.get_by_text("Still searching")).to_be_hidden()
    assert (asked, most) == (["bed", "table"], [1])


def test_a_link_holds_the_whole_search_and_reload_keeps_it(open_page: OpenPage, shop_url: str):
    search = f"{EXAMPLE}&q=in+white&weight=80&box=0.100,0.200,0.900,0.800&category=Furniture&min.price=20&sort=-price"
    page = open_page(f"{shop_url}?{search}")
    for _ in range(2):
        expect(heading(page)).to_contain_text("for in white and your photo")
        expect(words(page)).to_have_value("in white")
        expect(page.get_by_label("What counts more?")).to_have_value("80")
        expect(page.locator(".frame")).to_have_attribute(
            "style", re.compile("left: ?10.*top: ?20.*width: ?80.*height: ?60")
        )
        expect(page.locator(".chip")).to_have_text([re.compile("Furniture"), re.compile("Price: from 20")])
        expect(page.get_by_label("Sort by")).to_have_value("-price")
        prices = [float(price.replace(",", "")) for price in page.locator(".card .price").all_inner_texts()]
        assert prices == sorted(prices, reverse=True)
        assert min(prices) >= 20
        page.reload()


def test_words_that_are_still_typed_are_kept_by_a_click_elsewhere(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?q=bed")
    expect(page.locator(".card")).to_have_count(24)
    page.evaluate("""() => {
      const words = document.querySelector('#words');
      words.value = 'bed lamp';
      words.dispatchEvent(new Event('input', { bubbles: true }));
      document.querySelector('[data-facet=color] .value').click();
    }""")
    expect(page.locator(".chip")).to_have_count(1)
    expect(heading(page)).to_contain_text("bed lamp")
    expect(words(page)).to_have_value("bed lamp")


def test_back_and_forward_walk_through_searches_filters_and_products(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?q=bed")
    unfold_filters(page)
    page.locator('[data-facet="category"] .value').filter(has_text="Furniture").click()
    expect(page.locator(".chip")).to_have_count(1)
    page.locator(".card").first.click()
    expect(page.locator(".detail h2")).to_be_focused()
    title = page.locator(".detail h2").inner_text()
    page.reload()
    expect(page.locator(".detail h2")).to_have_text(title)
    page.go_back()
    expect(page.locator(".detail")).to_be_hidden()
    expect(page.locator(".chip")).to_have_count(1)
    page.go_back()
    expect(page.locator(".chip")).to_have_count(0)
    page.go_forward()
    page.go_forward()
    expect(page.locator(".detail h2")).to_have_text(title)


def test_a_hostile_address_is_shown_as_text(open_page: OpenPage, shop_url: str):
    attack = "%22%3E%3Cimg%20src=x%20onerror=window.hacked=1%3E%24%7Bwindow.hacked=2%7D%7B%7Bx%7D%7D"
    page = open_page(shop_url)
    for query in (f"q={attack}&category={attack}", f"q=x&is.{attack}={attack}", f"q=x&sort={attack}", f"like={attack}"):
        page.goto(f"{shop_url}?{query}")
        expect(page.locator(".results")).to_be_visible()
        assert page.evaluate("window.hacked") is None
        expect(page.locator("#browse img[src=x]")).to_have_count(0)
    page.goto(f"{shop_url}?product={attack}")
    expect(page.locator(".detail .notice")).to_contain_text("window.hacked")
    assert page.evaluate("window.hacked") is None


def test_this_but_searches_with_the_picture_of_a_card_and_waits_for_words(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?q=chair")
    card = page.locator(".item").nth(2)
    title = card.locator(".card-title").inner_text()
    card.hover()
    card.get_by_role("button", name=f"Search like {title}, but different").click()
    expect(heading(page)).to_have_text("Best 24 matches for this product")
    expect(words(page)).to_be_focused()
    page.keyboard.type("in blue")
    expect(heading(page)).to_have_text("Best 24 matches for in blue and this product")
    expect(page.locator(".framed")).to_be_visible()
    assert field(page, "like")
    page.locator(".card").first.click()
    page.locator(".detail .this-but").first.click()
    expect(words(page)).to_have_value("")
    expect(heading(page)).to_have_text("Best 24 matches for this product")


def test_photo_and_words_are_weighed_where_both_are_given(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}")
    slider = page.get_by_label("What counts more?")
    expect(page.locator(".card")).to_have_count(24)
    expect(slider).to_be_hidden()
    words(page).fill("white lamp")
    expect(slider).to_be_visible()
    expect(heading(page)).to_contain_text("white lamp")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_url("**weight=100**")
    by_words = open_page(f"{shop_url}?q=white+lamp").locator(".card-title")
    expect(by_words).to_have_count(24)
    expect(page.locator(".card-title")).to_have_text(by_words.all_inner_texts())


def test_prices_are_limited_and_sorted(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?q=chair")
    page.get_by_label("Sort by").select_option("price, lowest first")
    page.wait_for_url("**sort=price**")
    unfold_filters(page)
    page.get_by_label("To", exact=True).fill("50")
    page.get_by_label("To", exact=True).press("Enter")
    expect(page.locator(".chip")).to_contain_text("Price: up to 50")
    prices = [float(price) for price in page.locator(".card .price").all_inner_texts()]
    assert prices == sorted(prices)
    assert max(prices) <= 50


def test_a_product_leads_to_its_category_and_shows_two_rows_of_others(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?product=bs0-stove-c1")
    rows = page.locator(".detail section").filter(has=page.locator(".grid"))
    expect(rows.locator("h3.section")).to_have_text(["Looks like this", "Same kind, other colour"])
    expect(rows.last.locator(".card-title")).to_have_text(["Grey metal propane stove"])
    page.locator(".path a").last.click()
    expect(page.locator(".chip")).to_contain_text("cooker")
    expect(page.locator("#results .card")).to_have_count(2)
    expect(page.locator(".detail")).to_be_hidden()


def test_a_server_that_is_gone_is_said_so_and_the_search_is_kept_until_it_is_back(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?q=chair")
    expect(page.locator(".card")).to_have_count(24)

    def gone(route: Route) -> None:
        route.abort("connectionrefused")

    page.route("**/*", gone)
    words(page).fill("lamp")
    expect(page.locator(".banner")).to_contain_text("cannot be reached")
    expect(page.locator(".card")).to_have_count(24)
    page.unroute("**/*", gone)
    expect(heading(page)).to_have_text("Best 24 matches for lamp")
    expect(page.locator(".banner")).to_be_hidden()


def test_hostile_products_are_harmless_as_filters_and_addresses(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?q=hostile")
    for title in HOSTILE_TITLES:
        page.locator('[data-facet="color"] .value').filter(has_text=title).first.evaluate("button => button.click()")
        expect(page.locator(".chip").filter(has_text=title)).to_be_visible()
    page.reload()
    expect(page.locator(".chip")).to_have_count(len(HOSTILE_TITLES))
    assert page.evaluate("window.hacked") is None


def test_a_product_shows_why_it_matched(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?q=bed")
    page.locator(".card:has(img)").first.click()
    page.get_by_role("button", name="Why it matched").click()
    with_words = page.get_by_role("img", name=re.compile("^Coloured parts bring the picture nearer"))
    expect(with_words).to_be_visible()
    alone = page.get_by_role("img", name=re.compile("^The picture by itself"))
    boxes = [picture.bounding_box() or {} for picture in (with_words, alone)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]
    assert with_words.get_attribute("src") != alone.get_attribute("src")
    expect(page.locator(".detail h2")).to_be_visible()
