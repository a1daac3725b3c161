from __future__ import annotations

import re

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.driving import PHOTO, OpenPage
from tests.ui.sample_shop import HOSTILE_TITLES

pytestmark = pytest.mark.browser


def search(page: Page, text: str) -> None:
    box = page.get_by_label("What are you looking for?")
    box.fill(text)
    box.press("Enter")
    expect(page.locator("#results h2, #results .notice").first).to_contain_text(re.compile("match|No|not"))


def upload(page: Page, path) -> None:
    page.locator("#ask input[type=file]").set_input_files(path)


def wait_for_picture(page: Page, selector: str) -> None:
    page.wait_for_function(
        "s => { const i = document.querySelector(s); return i.complete && i.naturalWidth > 0 }", arg=selector
    )


def test_text_search_shows_cards_with_pictures_filters_and_timings(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    search(page, "purple skirt")
    expect(page.locator(".card")).to_have_count(24)
    expect(page.locator(".card-title").first).to_have_text("Purple skirt")
    expect(page.locator(".card").first.locator(".match")).to_have_text(re.compile(r"^\d+% match$"))
    wait_for_picture(page, ".card img")
    expect(page.locator(".timings")).to_have_text(re.compile(r"embed [\d.]+ ms · search [\d.]+ ms .* total [\d.]+ ms"))
    expect(page.locator('[data-facet="color"] .value').first).to_be_visible()


def test_more_results_extends_the_grid_until_nothing_is_left(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    search(page, "chair")
    page.get_by_role("button", name="More results").click()
    expect(page.locator(".card")).to_have_count(44)
    expect(page.locator(".card").nth(24)).to_be_focused()
    expect(page.get_by_role("button", name="More results")).to_have_count(0)


def test_an_uploaded_photo_searches_at_once_and_shows_the_product_that_was_found(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    upload(page, PHOTO)
    expect(page.locator("#results h2")).to_have_text("Best 24 matches for your photo")
    expect(page.locator(".photo .frame")).to_have_attribute("style", re.compile(r"left:25\.00%.*width:50\.00%"))
    expect(page.locator(".timings")).to_contain_text("decode")
    page.get_by_label("Remove photo").click()
    expect(page.locator(".landing")).to_be_visible()


def test_text_and_photo_are_searched_together(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    upload(page, PHOTO)
    expect(page.locator(".card")).to_have_count(24)
    search(page, "wooden")
    expect(page.locator("#results h2")).to_have_text("Best 24 matches for wooden and your photo")


def test_a_filter_narrows_the_results_and_can_be_taken_away(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    search(page, "something nice")
    furniture = page.locator('[data-facet="category"] .value').filter(has_text="Furniture")
    count = int(furniture.locator(".count").inner_text())
    furniture.click()
    expect(page.locator(".chip")).to_have_text(re.compile("Furniture"))
    expect(page.locator(".card")).to_have_count(count)
    page.locator('[data-facet="category"] .value').filter(has_text="Beds").click()
    expect(page.locator(".chip")).to_have_text(re.compile("Beds"))
    page.locator('[data-facet="color"] .value').first.click()
    expect(page.locator(".chip")).to_have_count(2)
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.locator(".card")).to_have_count(24)


def test_a_filter_that_nothing_fulfils_any_more_is_said_so(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    search(page, "lamp")
    value = page.locator('[data-facet="color"] .value').first
    value.evaluate("button => { button.dataset.go = '?q=lamp&is.color=sold+out'; button.click(); }")
    expect(page.locator(".results .notice")).to_contain_text("Nothing in this catalog fulfils the filters")
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".card")).to_have_count(24)


def test_a_card_opens_the_product_and_back_returns_to_the_same_card(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    search(page, "bed")
    card = page.locator(".card").nth(5)
    title = card.locator(".card-title").inner_text()
    card.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".detail h2")).to_have_text(title)
    expect(page.locator("#browse")).to_be_hidden()
    expect(page.locator(".detail .pictures img")).to_have_count(2)
    expect(page.locator(".licence")).to_contain_text("rendered to images for this catalog")
    expect(page.locator(".licence a")).to_have_attribute("href", re.compile("^https://creativecommons.org/"))
    expect(page.locator(".rows").first).to_contain_text("cm (W × D × H)")
    page.get_by_role("button", name="Back to results").click()
    expect(page.locator("#browse")).to_be_visible()
    expect(card).to_be_focused()
    assert "product=" not in page.url


def test_similar_products_lead_on_and_the_browser_goes_back(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    search(page, "bed")
    page.locator(".card").first.click()
    first = page.locator(".detail h2").inner_text()
    similar = page.locator(".detail .card").first
    title = similar.locator(".card-title").inner_text()
    similar.click()
    expect(page.locator(".detail h2")).to_have_text(title)
    page.go_back()
    expect(page.locator(".detail h2")).to_have_text(first)
    page.go_back()
    expect(page.locator("#browse")).to_be_visible()
    page.locator(".card").first.click()
    expect(page.locator(".detail h2")).to_have_text(first)


def test_a_product_has_an_address_of_its_own(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    search(page, "bed")
    address = page.locator(".card").first.get_attribute("href")
    title = page.locator(".card-title").first.inner_text()
    expect(open_page(f"{shop_url}{address}").locator(".detail h2")).to_have_text(title)
    expect(open_page(f"{shop_url}?product=gone").locator(".detail .notice")).to_be_visible()


def test_hostile_texts_are_shown_as_text(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    search(page, "hostile <b id=x>${window.hacked=7}</b>{{x}}")
    expect(page.locator("#results q")).to_have_text("hostile <b id=x>${window.hacked=7}</b>{{x}}")
    for title in HOSTILE_TITLES:
        expect(page.locator(".card-title").get_by_text(title, exact=True)).to_be_visible()
    expect(page.locator(".picture.missing").first).to_have_text("No picture")
    expect(page.locator(".card").filter(has_text="hostile").first.locator(".price")).to_have_text("12.50")
    for title in HOSTILE_TITLES:
        page.locator(".card").filter(has_text=title).first.click()
        expect(page.locator(".detail h2")).to_have_text(title)
        expect(page.locator(".detail a[href^=javascript]")).to_have_count(0)
        page.get_by_role("button", name="Back to results").click()
        expect(page.locator("#browse")).to_be_visible()
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.jpg", PHOTO.read_bytes()[:2000], "damaged or incomplete"),
        ("text.png", b"no picture at all", "not a picture"),
    ],
)
def test_a_photo_that_cannot_be_read_is_said_so_and_breaks_nothing(
    open_page: OpenPage, shop_url: str, tmp_path, name: str, content: bytes, message: str
):
    (tmp_path / name).write_bytes(content)
    page = open_page(shop_url)
    upload(page, tmp_path / name)
    expect(page.get_by_role("alert")).to_contain_text(message)
    upload(page, PHOTO)
    expect(page.locator(".card")).to_have_count(24)


def test_a_photo_with_too_many_pixels_is_refused(open_page: OpenPage, shop_url: str, tmp_path):
    Image.new("1", (8_000, 8_000)).save(tmp_path / "huge.png")
    page = open_page(shop_url)
    upload(page, tmp_path / "huge.png")
    expect(page.get_by_role("alert")).to_contain_text("more pixels than the limit")


def test_a_too_large_file_is_refused_before_it_is_sent(open_page: OpenPage, shop_url: str, tmp_path):
    (tmp_path / "large.jpg").write_bytes(bytes(20_000_001))
    page = open_page(shop_url)
    upload(page, tmp_path / "large.jpg")
    expect(page.locator(".toast-body")).to_contain_text("exceed the maximum allowed size")
    search(page, "bed")
    expect(page.locator(".card")).to_have_count(24)


def test_examples_search_at_one_click_and_start_over_brings_them_back(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    page.locator(".example").filter(has_text="same bed but in pink").click()
    expect(page.locator("#results h2")).to_have_text("Best 24 matches for same bed but in pink and your photo")
    expect(page.get_by_label("What are you looking for?")).to_have_value("same bed but in pink")
    page.get_by_role("button", name="Start over").click()
    expect(page.locator(".landing")).to_be_visible()
    page.locator(".tile").filter(has_text="Furniture").click()
    expect(page.locator(".chip")).to_have_text(re.compile("Furniture"))


def test_prediction_shows_candidates_as_bars(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    page.get_by_role("tab", name="Understand").click()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#predicted .notice")).to_contain_text("add a photo, a title, or both")
    page.get_by_label("Product title").fill("white bed")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".bars h3").first).to_have_text("Category, level 1")
    expect(page.locator(".bars .bar-value").first).to_have_text(re.compile(r"^\d+%$"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_never_scrolls_sideways(open_page: OpenPage, shop_url: str, scheme: str):
    page = open_page(shop_url, width=390, color_scheme=scheme)
    expect(page.locator(".landing")).to_be_visible()
    sideways = "document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(sideways)
    search(page, "white bed")
    assert not page.evaluate(sideways)
    expect(page.locator('[data-facet="category"]')).to_be_hidden()
    page.locator(".filters > summary").click()
    page.locator('[data-facet="category"] .value').first.click()
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.locator('[data-facet="category"]')).to_be_visible()
    page.locator(".card").first.click()
    expect(page.locator(".detail")).to_be_visible()
    assert not page.evaluate(sideways)


def test_without_an_index_the_page_says_what_to_do(open_page: OpenPage, empty_shop_url: str):
    page = open_page(empty_shop_url)
    expect(page.locator("#landing .notice")).to_contain_text("indexer rebuild")
    page.get_by_label("What are you looking for?").fill("bed")
    page.keyboard.press("Enter")
    expect(page.locator("#results .notice")).to_contain_text("indexer rebuild")
    expect(page.locator("#landing")).to_be_hidden()
