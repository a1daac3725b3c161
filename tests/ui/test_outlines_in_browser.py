"""Other products in the photo: outlined once they are found, and searched with by one click."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
from PIL.Image import Image
from playwright.sync_api import Locator, Page, expect

import ui.shop
from app.errors import OverloadedError
from app.schema import Box
from tests.ui.driving import EXAMPLE, PASTE, PHOTO, OpenPage, box, part_of_photo, words

pytestmark = pytest.mark.browser


def outlines(page: Page) -> Locator:
    return page.locator(".photo .outline:visible")


def paste(page: Page) -> None:
    page.evaluate(PASTE, list(PHOTO.read_bytes()))


@pytest.fixture
def gate(monkeypatch) -> Iterator[threading.Event]:
    """Products are looked for once it is open."""
    opened, look = threading.Event(), ui.shop.products_in
    monkeypatch.setattr("ui.shop.products_in", lambda *given: opened.wait(30) and look(*given))
    yield opened
    opened.set()


def test_one_click_searches_with_another_product_and_back_with_the_one_before(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}")
    expect(outlines(page)).to_have_count(4)
    page.mouse.click(*part_of_photo(page, 0.3, 0.3))
    page.wait_for_url("**box=**")
    first = box(page)
    assert first == pytest.approx([0.16, 0.16, 0.44, 0.44], abs=0.03)
    expect(page.locator(".frame")).to_have_attribute("style", re.compile("left: ?1"))
    expect(outlines(page)).to_have_count(4)  # the core product has one now, and the product in the frame none
    page.mouse.click(*part_of_photo(page, 0.7, 0.7))
    page.wait_for_function("/box=0\\.5/.test(location.search)")
    page.go_back()
    page.wait_for_function("/box=0\\.1/.test(location.search)")
    assert box(page) == first
    expect(page.locator(".frame")).to_have_attribute("style", re.compile("left: ?1"))


def test_outlines_are_buttons_for_the_keyboard(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}")
    expect(outlines(page)).to_have_count(4)
    page.locator(".frame").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("Search for product 2")
    page.keyboard.press("Enter")
    page.wait_for_url("**box=**")
    expect(page.locator(".frame")).to_be_focused()


def test_a_tap_that_trembles_is_a_tap_and_a_small_frame_can_be_moved(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}&box=0.300,0.300,0.380,0.520")
    expect(outlines(page)).to_have_count(5)
    x, y = part_of_photo(page, 0.34, 0.4)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=4)
    page.mouse.up()
    page.wait_for_function("!location.search.includes('box=0.300')")
    left, _, right, _ = box(page)
    assert right - left == pytest.approx(0.08, abs=0.01)
    x, y = part_of_photo(page, 0.2, 0.2)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 2, y + 1)
    page.mouse.up()
    page.wait_for_function("/box=0\\.1/.test(location.search)")


def test_a_product_too_small_for_a_finger_is_picked_by_a_tap_near_it(
    open_page: OpenPage, shop_url: str, monkeypatch: pytest.MonkeyPatch
):
    def small_one(embedder: object, photo: Image) -> list[Box]:
        width, height = photo.size
        return [(0, 0, width // 4, height // 4), (width // 2, height // 2, width // 2 + 4, height // 2 + 4)]

    monkeypatch.setattr("ui.shop.products_in", small_one)
    page = open_page(f"{shop_url}?{EXAMPLE}", width=390, has_touch=True, is_mobile=True)
    expect(outlines(page)).to_have_count(2)
    x, y = part_of_photo(page, 0.5, 0.5)
    page.touchscreen.tap(x + 30, y)
    page.wait_for_timeout(300)
    assert "box=" not in page.url
    page.touchscreen.tap(x + 10, y - 8)
    page.wait_for_url("**box=0.5**")


def test_a_frame_on_its_way_by_keys_is_given_up_for_the_product_that_is_clicked(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}")
    expect(outlines(page)).to_have_count(4)
    page.locator(".frame").focus()
    page.evaluate("""() => {
      const frame = document.querySelector('.frame');
      frame.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', shiftKey: true, bubbles: true }));
      document.querySelector('.photo .outline:not([hidden])').click();
    }""")
    page.wait_for_url("**box=**")
    clicked = page.url
    page.wait_for_timeout(600)
    assert page.url == clicked


def test_outlines_stay_while_words_are_added_and_the_photo_is_looked_through_once(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}")
    expect(outlines(page)).to_have_count(4)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "queue/join" in request.url else None)
    words(page).fill("in red")
    page.wait_for_url("**q=in**")
    expect(page.locator("#results h2")).to_contain_text("in red")
    expect(outlines(page)).to_have_count(4)
    page.wait_for_timeout(500)
    assert len(asked) == 1


def test_a_photo_that_comes_while_another_is_looked_through_gets_its_own(
    open_page: OpenPage, shop_url: str, gate: threading.Event
):
    page = open_page(f"{shop_url}?{EXAMPLE}")
    expect(page.locator(".card").first).to_be_visible()
    before = page.locator(".framed").get_attribute("data-photo")
    paste(page)
    page.wait_for_function("key => document.querySelector('.framed')?.dataset.photo !== key", arg=before)
    expect(outlines(page)).to_have_count(0)
    gate.set()
    expect(outlines(page)).to_have_count(4)
    page.go_back()
    page.wait_for_function("key => document.querySelector('.framed')?.dataset.photo === key", arg=before)
    expect(outlines(page)).to_have_count(4)


def test_a_server_that_is_too_busy_shows_the_photo_without_outlines(
    open_page: OpenPage, shop_url: str, monkeypatch: pytest.MonkeyPatch
):
    refused = threading.Event()

    def refuse(*_: object) -> None:
        refused.set()
        raise OverloadedError("too many queries are waiting for the model; try again in a moment", retry_after=1)

    with monkeypatch.context() as patched:
        patched.setattr("ui.shop.products_in", refuse)
        page = open_page(f"{shop_url}?{EXAMPLE}")
        expect(page.locator(".card").first).to_be_visible()
        assert refused.wait(15)
        page.wait_for_timeout(300)
        expect(outlines(page)).to_have_count(0)
        expect(page.locator(".banner")).to_be_hidden()
    paste(page)
    expect(outlines(page)).to_have_count(4)
