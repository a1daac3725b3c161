"""Takes the pictures in docs/images from a running page: ``python tests/ui/take_screenshots.py``."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def main(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = _searched(browser, url, DESKTOP, "light")
        _shoot(page, "results")
        page.locator(".card").nth(1).click()
        page.wait_for_selector(".detail")
        _shoot(page, "product")
        _shoot(_searched(browser, url, DESKTOP, "dark"), "results-dark")
        page = _searched(browser, url, PHONE, "light")
        page.evaluate("scrollTo(0, document.querySelector('#browse').offsetTop - 12)")
        _shoot(page, "results-phone")
        browser.close()


def _searched(browser: Browser, url: str, viewport: dict[str, int], scheme: str) -> Page:
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    page.goto(url)
    page.locator(".example").filter(has_text="same bed but in pink").click()
    page.wait_for_selector(".card")
    page.mouse.move(0, 0)
    return page


def _shoot(page: Page, name: str) -> None:
    seen = "i => { const r = i.getBoundingClientRect(); return r.width && r.top < innerHeight && r.bottom > 0 }"
    page.wait_for_function(f"[...document.images].filter({seen}).every(i => i.complete && i.naturalWidth)")
    Image.open(io.BytesIO(page.screenshot())).save(IMAGES / f"{name}.webp", quality=82, method=6)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860/")
