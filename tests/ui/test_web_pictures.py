"""A shop whose pictures are web addresses: the page works from every card, and the server fetches nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from app import images
from app.api import create_api
from app.disk_cache import DiskCache
from app.schema import Filters, Product
from app.serving import Service
from tests.served import served
from tests.ui.driving import OpenPage, field, heading, words
from tests.ui.sample_shop import DEMO, demo_products, service
from ui.address import Address
from ui.page import mount
from ui.shop import Shop

PHOTO = DEMO / "photos" / "bs0-couch-c0_p0.webp"
ON_THE_WEB = [
    product.model_copy(update={"images": [f"https://pictures.example/{product.id}.webp"]})
    for product in demo_products(every=60)
]
ELSEWHERE, KEPT, DAMAGED = (product.id for product in ON_THE_WEB[:3])
WITHOUT = Product(id="no-picture", title="Chair without a picture", category=["Furniture"], numbers={"price": 1.0})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("web")
    kept = DiskCache(data / "pictures", 1_000_000)
    kept.put(ON_THE_WEB[1].images[0], PHOTO.read_bytes())
    kept.put(ON_THE_WEB[2].images[0], PHOTO.read_bytes()[:500])
    running = service(data, [*ON_THE_WEB, WITHOUT])
    yield running
    running.close()


@pytest.fixture
def shop(running: Service, monkeypatch: pytest.MonkeyPatch) -> Shop:
    def fetch(url: str, max_bytes: int) -> bytes:
        pytest.fail(f"the server fetched {url}")

    monkeypatch.setattr(images, "_fetch", fetch)
    return Shop(running)


def found(results: str) -> list[str]:
    return re.findall(r'class="card" href="[^"]*product=([^"&]+)"', results)


def test_every_card_and_every_product_can_be_searched_like(shop: Shop):
    results = shop.search(Address("chair"), None).results
    assert found(results)
    assert results.count("this-but") == len(found(results))
    for product in (ELSEWHERE, WITHOUT.id):
        assert shop.product(Address(product=product)).count('data-focus="words"') > 0


@pytest.mark.parametrize("product", [ELSEWHERE, DAMAGED, WITHOUT.id])
def test_without_its_picture_a_product_is_searched_like_by_its_vector(shop: Shop, product: str):
    photo, panel, results = shop.search(Address(like=product), None)
    assert found(results)[0] == product
    assert "data-photo" not in photo
    assert 'aria-label="Remove photo"' in photo
    assert (f"api/v1/products/{product}/images/0" in photo) == (product != WITHOUT.id)
    assert panel
    wish = shop.search(Address("in blue", like=product), None).results
    assert 'role="alert"' not in wish
    assert product not in found(wish)
    assert shop.outlines(Address(like=product), None) == ""


def test_the_slider_and_the_filters_hold_for_a_product_without_its_picture(shop: Shop):
    by_product = found(shop.search(Address("blue lamp", like=ELSEWHERE, text_weight=0), None).results)
    by_words = found(shop.search(Address("blue lamp", like=ELSEWHERE, text_weight=1), None).results)
    assert by_product != by_words
    alike, asked = (
        found(shop.search(address, None).results) for address in (Address(like=ELSEWHERE), Address("blue lamp"))
    )
    assert by_product[:9] == [one for one in alike if one != ELSEWHERE][:9]
    assert by_words[:9] == [one for one in asked if one != ELSEWHERE][:9]
    category = ON_THE_WEB[0].category[:1]
    within = shop.search(Address("in blue", like=ELSEWHERE).filtered(Filters(category=category)), None).results
    catalog = {product.id: product for product in [*ON_THE_WEB, WITHOUT]}
    assert {catalog[product].category[0] for product in found(within)} == set(category)


def test_a_picture_that_the_indexer_kept_is_searched_with(shop: Shop):
    assert "data-photo" in shop.search(Address("in blue", like=KEPT), None).photo


def test_why_it_matched_is_offered_where_the_picture_can_be_read(shop: Shop):
    assert "data-why" in shop.product(Address("bed", product=KEPT))
    assert "data-why" not in shop.product(Address("bed", product=ELSEWHERE))
    assert "data-why" not in shop.product(Address("bed", product=WITHOUT.id))
    assert "Coloured parts" in shop.matched(Address("in blue", like=ELSEWHERE, product=KEPT), None)
    assert 'role="alert"' in shop.matched(Address("bed", product=ELSEWHERE), None)


@pytest.mark.browser
def test_this_but_works_from_every_card_of_a_shop_with_web_pictures(open_page: OpenPage, running: Service):
    with served(mount(create_api(running), running)) as url:
        page = open_page(f"{url}/")
        page.locator(".landing").wait_for()
        page.route("**/images/0", lambda route: route.fulfill(path=PHOTO))
        words(page).fill("chair")
        expect(heading(page)).to_contain_text("for chair")
        cards = page.locator(".item")
        expect(cards.locator(".this-but")).to_have_count(cards.count())
        title = cards.first.locator(".card-title").inner_text()
        cards.first.hover()
        cards.first.get_by_role("button", name=f"Search like {title}, but different").click()
        expect(heading(page)).to_contain_text("for this product")
        expect(page.locator(".framed img")).to_be_visible()
        expect(page.locator(".frame")).to_have_count(0)
        expect(page.locator(".photo-input")).to_be_hidden()
        expect(words(page)).to_be_focused()
        page.keyboard.type("in blue")
        expect(heading(page)).to_contain_text("for in blue and this product")
        expect(page.get_by_label("What counts more?")).to_be_visible()
        expect(page.locator(".card-title").first).not_to_have_text(title)
        page.reload()
        expect(heading(page)).to_contain_text("for in blue and this product")
        page.get_by_role("button", name="Remove photo").click()
        expect(heading(page)).to_contain_text("for in blue")
        assert field(page, "like") is None
