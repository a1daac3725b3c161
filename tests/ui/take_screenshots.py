"""Takes the pictures in docs/img from a running page: ``python tests/ui/take_screenshots.py [ADDRESS [NAME ...]]``.

The page has to show the demo catalog. Without names, all pictures are taken.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "img"
PHOTO = ROOT / "demo" / "photos" / "bs0-plasticchair-c1_p0.webp"
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
BED = "photo=bs0-bed2-c0_p0&q=same+bed+but+in+pink"
WAIT_MS = 60_000

Window = dict[str, object]


def searched(page: Page, url: str) -> None:
    page.goto(f"{url}?{BED}")
    page.locator("#results .card").first.wait_for()


def on_a_phone(page: Page, url: str) -> None:
    searched(page, url)
    page.evaluate("document.querySelector('#browse').scrollIntoView()")


def by_photo(page: Page, url: str) -> None:
    page.goto(url)
    page.locator("#ask input[type=file]").set_input_files(PHOTO)
    page.locator(".framed").wait_for()
    page.locator("#outlines [data-photo]").wait_for(state="attached")


def nothing_like_it(page: Page, url: str) -> None:
    page.goto(f"{url}?q=snow+tyres")
    page.locator("#results .notice").wait_for()


def product(page: Page, url: str) -> None:
    page.goto(f"{url}?{BED}&product=bs0-bed2-c1")
    page.get_by_role("button", name="Why it matched").click()
    page.locator(".detail .seen").last.wait_for()


def understood(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Understand").click()
    page.locator("#understand input[type=file]").set_input_files(PHOTO)
    page.get_by_role("button", name="Predict", exact=True).click()
    page.locator(".bars").first.wait_for()


def compared(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Query", exact=True).fill("something to sit on in the garden")
    page.get_by_label("Right").click()
    page.get_by_role("option", name="Published build, words").click()
    page.get_by_role("button", name="Compare").click()
    page.locator("#compared ol").nth(1).wait_for()


def status(page: Page, url: str) -> None:
    by_photo(page, url)
    page.get_by_role("tab", name="Status").click()
    page.get_by_role("region", name="Kept builds").wait_for()


PICTURES: dict[str, tuple[Callable[[Page, str], None], Window]] = {
    "results": (searched, DESKTOP),
    "results-dark": (searched, {**DESKTOP, "color_scheme": "dark"}),
    "results-phone": (on_a_phone, PHONE),
    "photo": (by_photo, DESKTOP),
    "nothing": (nothing_like_it, DESKTOP),
    "product": (product, DESKTOP),
    "understand": (understood, DESKTOP),
    "compare": (compared, DESKTOP),
    "status": (status, DESKTOP),
}


def main(url: str, *names: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in names or PICTURES:
            take(browser, url, name, IMAGES)
        browser.close()


def take(browser: Browser, url: str, name: str, folder: Path) -> Path:
    """One of the pictures, as a file of the folder."""
    show, window = PICTURES[name]
    page = browser.new_page(**window)
    page.set_default_timeout(WAIT_MS)
    show(page, url)
    file = folder / f"{name}.webp"
    shoot(page, file)
    page.close()
    return file


def shoot(page: Page, file: Path) -> None:
    page.mouse.move(0, 0)
    page.add_style_tag(content=".timings { visibility: hidden }")  # those of the machine that takes the pictures
    seen = "i => { const r = i.getBoundingClientRect(); return r.width && r.top < innerHeight && r.bottom > 0 }"
    page.wait_for_function(f"[...document.images].filter({seen}).every(i => i.complete && i.naturalWidth)")
    Image.open(io.BytesIO(page.screenshot())).save(file, quality=82, method=6)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["http://127.0.0.1:7860/"]))
