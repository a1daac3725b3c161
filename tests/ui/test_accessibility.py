"""No serious or critical violation of WCAG that axe-core finds, on any tab, light and dark, wide and narrow."""

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


@pytest.fixture(params=[1280, 390], ids=["desktop", "phone"])
def width(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, open_page: OpenPage, shop_url: str, width: int) -> Page:
    return open_page(shop_url, width, color_scheme=request.param)


def open_tab(page: Page, name: str) -> None:
    """By keys alone, also where the tab does not fit beside the others and stands behind "More tabs"."""
    page.get_by_role("tab", selected=True).focus()
    focused = "document.activeElement.innerText.trim() || document.activeElement.ariaLabel"
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "More tabs":
            page.keyboard.press("Enter")
        if page.evaluate(focused) == name:
            page.keyboard.press("Enter")
            return
    pytest.fail(f"no way to {name} by keys")


def test_landing_results_and_product(page: Page, width: int):
    expect(page.locator(".tile").first).to_be_visible()
    assert violations(page) == []
    box = page.get_by_label("What are you looking for?")
    box.fill("bed")
    box.press("Enter")
    if width < 768:
        page.locator("#filters > summary").click()
    page.locator('[data-facet="color"] .value').first.click()
    expect(page.locator(".chip")).to_have_count(1)
    assert violations(page) == []
    page.locator(".card").first.click()
    expect(page.locator(".detail h2")).to_be_visible()
    assert violations(page) == []


def test_understand(page: Page):
    open_tab(page, "Understand")
    page.get_by_text("Many products at once").click()
    page.locator("#understand input[type=file]").set_input_files(PHOTO)
    page.get_by_label("Choose tables or photos").set_input_files(PHOTO)
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#predicted .bars").first).to_be_visible()
    page.get_by_role("button", name="Show where the model looks").click()
    expect(page.locator("#heats img")).to_be_visible()
    expect(page.locator("#batch .table")).to_be_visible()
    assert violations(page) == []


def test_compare(page: Page):
    open_tab(page, "Compare")
    page.get_by_label("Query", exact=True).fill("bed")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared ol").first).to_be_visible()
    assert violations(page) == []


def test_status(page: Page):
    open_tab(page, "Status")
    expect(page.get_by_role("region", name="Kept builds")).to_be_visible()
    assert violations(page) == []
