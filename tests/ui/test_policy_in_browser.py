"""The page works under the headers that keep foreign scripts and frames out."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.observe import PAGE_POLICY
from tests.ui.sample_shop import DEMO

pytestmark = pytest.mark.browser

PHOTO = DEMO / "photos" / "bs0-couch-c0_p0.webp"
VIOLATIONS = "document.addEventListener('securitypolicyviolation', e => console.error('policy ' + e.blockedURI))"


def test_searching_by_words_and_photo_breaks_no_policy(open_page: Callable[..., Page], shop_url: str):
    page = open_page(shop_url)
    broken: list[str] = []
    page.on("console", lambda message: broken.append(message.text) if "olicy" in message.text else None)
    page.add_init_script(VIOLATIONS)
    response = page.reload()
    assert response is not None
    assert response.headers["content-security-policy"] == PAGE_POLICY
    box = page.get_by_label("What are you looking for?").first
    box.fill("purple skirt")
    box.press("Enter")
    expect(page.locator(".card").first).to_be_visible()
    page.locator("input[type=file]").first.set_input_files(PHOTO)
    expect(page.locator("#results h2")).to_contain_text(re.compile("photo"))
    assert broken == []


def test_foreign_scripts_are_not_loaded(open_page: Callable[..., Page], shop_url: str):
    page = open_page(shop_url)
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate(
            "const s = document.createElement('script'); s.src = 'data:text/javascript,window.hacked=1'; "
            "document.head.append(s)"
        )
    assert page.evaluate("window.hacked") is None
