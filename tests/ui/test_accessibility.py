"""No serious or critical violation of WCAG that axe-core finds, on any tab, light and dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.ui.sample_shop import DEMO

pytestmark = pytest.mark.browser

PHOTO = DEMO / "photos" / "bs0-couch-c0_p0.webp"
OpenPage = Callable[..., Page]


def violations(page: Page) -> list[str]:
    """Rule and elements of each serious or critical violation."""
    page.wait_for_function("document.getAnimations().every(animation => animation.playState !== 'running')")
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {[node['html'][:200] for node in violation['nodes']]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, open_page: OpenPage, shop_url: str) -> Page:
    return open_page(shop_url, color_scheme=request.param)


def test_landing_results_and_product(page: Page):
    expect(page.locator(".tile").first).to_be_visible()
    assert violations(page) == []
    box = page.get_by_label("What are you looking for?")
    box.fill("bed")
    box.press("Enter")
    page.locator('[data-facet="color"] .value').first.click()
    expect(page.locator(".chip")).to_have_count(1)
    assert violations(page) == []
    page.locator(".card").first.click()
    expect(page.locator(".detail h2")).to_be_visible()
    assert violations(page) == []


def test_understand(page: Page):
    page.get_by_role("tab", name="Understand").click()
    page.get_by_text("Many products at once").click()
    page.locator("#understand input[type=file]").set_input_files(PHOTO)
    page.locator("#batch input[type=file]").set_input_files(PHOTO)
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#predicted .bars").first).to_be_visible()
    page.get_by_role("button", name="Show where the model looks").click()
    expect(page.locator("#heats img")).to_be_visible()
    expect(page.locator("#batch .table")).to_be_visible()
    assert violations(page) == []


def test_compare(page: Page):
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Query", exact=True).fill("bed")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared ol").first).to_be_visible()
    assert violations(page) == []


def test_status(page: Page):
    page.get_by_role("tab", name="Status").click()
    expect(page.get_by_role("region", name="Kept builds")).to_be_visible()
    assert violations(page) == []
