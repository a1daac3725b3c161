"""A search that does not get through, or that nobody answers: said so, and asked again by one click."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from tests.ui.driving import WINDOWS, OpenPage, heading, words

pytestmark = pytest.mark.browser

JOIN = "**/gradio_api/queue/join*"
windows = pytest.mark.parametrize("window", WINDOWS)


@windows
def test_a_search_that_is_refused_is_said_so_and_sent_again(open_page: OpenPage, shop_url: str, window):
    page = open_page(shop_url, **window)
    page.locator(".landing").wait_for()

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json={"detail": "Queue is full."})

    page.route(JOIN, refuse)
    words(page).fill("bed")
    expect(page.locator(".banner")).to_contain_text("did not get through")
    page.unroute(JOIN, refuse)
    page.locator(".banner").get_by_role("button", name="Try again").click()
    expect(heading(page)).to_contain_text("matches for bed")
    expect(page.locator(".banner")).to_be_hidden()


@windows
def test_a_search_that_nobody_answers_is_called_slow_and_then_stuck(open_page: OpenPage, shop_url: str, window):
    page = open_page(shop_url, **window)
    page.locator(".landing").wait_for()
    page.clock.install()
    page.route(JOIN, lambda _: None)
    words(page).fill("bed")
    page.clock.run_for(4_000)
    expect(page.get_by_text("Still searching")).to_be_visible()
    page.clock.run_for(12_000)
    expect(page.locator(".banner")).to_contain_text("takes unusually long")
