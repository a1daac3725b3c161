"""What the browser tests do to the page, and what they read off it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page

from tests.ui.sample_shop import DEMO
from ui.language import ENGLISH, Language

OpenPage = Callable[..., Page]
PHOTO = DEMO / "photos" / "bs0-couch-c0_p0.webp"
OTHER_PHOTO = DEMO / "photos" / "bs0-bed2-c0_p0.webp"
EXAMPLE = "photo=bs0-bed2-c0_p0"


def words(page: Page, say: Language = ENGLISH) -> Locator:
    return page.get_by_label(say("What are you looking for?"))


def heading(page: Page) -> Locator:
    return page.locator("#results h2")


def field(page: Page, name: str) -> str | None:
    return parse_qs(urlsplit(page.url).query).get(name, [None])[0]


def entries(page: Page) -> int:
    return page.evaluate("history.length")
