"""The photo on the page: its frame by mouse, keys and finger, pasted, replaced and taken by webcam."""

from __future__ import annotations

import re
from functools import partial

import pytest
from playwright.sync_api import Page, expect

from tests.ui.driving import (
    DROP,
    EXAMPLE,
    OTHER_PHOTO,
    PASTE,
    PHOTO,
    WINDOWS,
    OpenPage,
    box,
    entries,
    field,
    heading,
    part_of_photo,
)

pytestmark = pytest.mark.browser


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*part_of_photo(page, *start))
    page.mouse.down()
    page.mouse.move(*part_of_photo(page, *end), steps=4)
    page.mouse.up()


@pytest.fixture(params=WINDOWS)
def open_page(open_page: OpenPage, request: pytest.FixtureRequest) -> OpenPage:
    """Every test of this module on a light desktop and on a dark phone."""
    return partial(open_page, **request.param)


def test_the_frame_is_moved_resized_and_drawn_by_mouse_and_taken_back(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}")
    expect(page.locator(".card")).to_have_count(24)
    drag(page, (0.5, 0.5), (0.6, 0.4))
    expect(page).to_have_url(re.compile("box="))
    assert box(page) == pytest.approx([0.35, 0.15, 0.85, 0.65], abs=0.02)
    drag(page, (0.85, 0.65), (0.95, 0.9))
    page.wait_for_function("location.search.includes('box=0.3') && parseFloat(location.search.split('C').pop()) > .8")
    assert box(page) == pytest.approx([0.35, 0.15, 0.95, 0.9], abs=0.02)
    drag(page, (0.05, 0.95), (0.25, 0.7))
    page.wait_for_function("/box=0\\.0/.test(location.search)")
    assert box(page) == pytest.approx([0.05, 0.7, 0.25, 0.95], abs=0.02)
    page.get_by_role("button", name="Whole photo").click()
    expect(page.get_by_role("button", name="Whole photo")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Product", exact=True).click()
    expect(page.locator(".frame")).to_have_attribute("style", re.compile("left: ?25"))
    assert field(page, "box") is None


def test_the_frame_is_moved_and_resized_by_keys(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}")
    expect(page.locator(".card")).to_have_count(24)
    before = entries(page)
    page.locator(".frame").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.wait_for_url("**box=**")
    assert box(page) == pytest.approx([0.29, 0.23, 0.79, 0.75])
    assert entries(page) == before + 1
    expect(page.locator(".frame")).to_be_focused()


def test_on_a_phone_the_frame_follows_the_finger(open_page: OpenPage, shop_url: str):
    page = open_page(f"{shop_url}?{EXAMPLE}", width=390, has_touch=True, is_mobile=True)
    expect(page.locator(".card")).to_have_count(24)
    (x, y), (to_x, to_y) = part_of_photo(page, 0.5, 0.5), part_of_photo(page, 0.4, 0.6)
    finger = page.context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": to_x, "y": to_y}]),
        ("touchEnd", []),
    ):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_url("**box=**")
    assert box(page) == pytest.approx([0.15, 0.35, 0.65, 0.85], abs=0.02)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_photo_is_pasted_and_replaced_by_another_one(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url)
    page.locator(".landing").wait_for()
    page.evaluate(PASTE, list(PHOTO.read_bytes()))
    expect(heading(page)).to_have_text("Best 24 matches for your photo")
    expect(page.get_by_text("but not your photo")).to_be_visible()
    first = page.locator(".photo img").get_attribute("src")
    page.evaluate(PASTE, list(OTHER_PHOTO.read_bytes()))
    expect(page.locator(".photo img")).not_to_have_attribute("src", first)
    page.go_back()
    expect(page.locator(".landing")).to_be_visible()
    page.go_forward()
    expect(page.locator(".framed")).to_be_visible()
    expect(open_page(page.url).get_by_role("alert").first).to_contain_text("add it again")


@pytest.mark.parametrize("place", ["#words", "#results", "#framed", "body"])
def test_a_photo_is_dropped_anywhere_on_the_search(open_page: OpenPage, shop_url: str, place: str):
    page = open_page(shop_url)
    page.locator(".landing").wait_for()
    assert page.evaluate(DROP, [place, list(PHOTO.read_bytes()), "image/webp"])
    expect(heading(page)).to_have_text("Best 24 matches for your photo")


@pytest.mark.parametrize("tab", ["Search", "Understand"])
def test_a_dropped_file_never_takes_the_place_of_the_page(open_page: OpenPage, shop_url: str, tab: str):
    page = open_page(shop_url)
    page.get_by_role("tab", name=tab).click()
    assert page.evaluate(DROP, ["body", list(b"no photo"), "text/plain"])
    expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    assert page.url == shop_url


def test_a_photo_is_taken_by_webcam(open_page: OpenPage, shop_url: str):
    page = open_page(shop_url, permissions=["camera"])
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('video')?.readyState === 4")
    page.get_by_label("capture photo").click()
    expect(heading(page)).to_have_text("Best 24 matches for your photo")
