"""What the browser tests do to the page, and what they read off it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page

from tests.ui.sample_shop import DEMO
from ui.language import ENGLISH, Language

OpenPage = Callable[..., Page]
DESKTOP = {"width": 1280, "color_scheme": "light"}
PHONE = {"width": 390, "color_scheme": "dark", "has_touch": True, "is_mobile": True}
WINDOWS = [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone in the dark", marks=pytest.mark.slow)]
PHOTO = DEMO / "photos" / "bs0-couch-c0_p0.webp"
OTHER_PHOTO = DEMO / "photos" / "bs0-bed2-c0_p0.webp"
EXAMPLE = "photo=bs0-bed2-c0_p0"

PASTE = """(bytes) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], 'photo.webp', { type: 'image/webp' }));
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
}"""
DROP = """([place, bytes, type]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], 'dropped', { type }));
  const [over, drop] = ['dragover', 'drop'].map(
    (kind) => new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
  const target = document.querySelector(place);
  return !target.dispatchEvent(over) && !target.dispatchEvent(drop);
}"""
"""Drops a file on a place; true if the browser itself does nothing with it."""


def words(page: Page, say: Language = ENGLISH) -> Locator:
    return page.get_by_label(say("What are you looking for?"))


def heading(page: Page) -> Locator:
    return page.locator("#results h2")


def unfold_filters(page: Page) -> None:
    """Filters stand open on a wide page and folded on a phone."""
    page.locator(".filters").wait_for()
    folded = page.locator("details.filters:not([open]) > summary")
    if folded.is_visible():
        folded.click()


def field(page: Page, name: str) -> str | None:
    return parse_qs(urlsplit(page.url).query).get(name, [None])[0]


def entries(page: Page) -> int:
    return page.evaluate("history.length")


def box(page: Page) -> list[float]:
    return [float(side) for side in (field(page, "box") or "").split(",")]


def part_of_photo(page: Page, x: float, y: float) -> tuple[float, float]:
    """The point of the window at these parts of the photo's width and height."""
    page.wait_for_function("document.querySelector('.photo img')?.complete")
    photo = page.locator(".photo").bounding_box()
    return photo["x"] + x * photo["width"], photo["y"] + y * photo["height"]
