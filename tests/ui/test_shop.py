"""What the page answers, without a browser."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from PIL import Image

from app.schema import MAX_LEVELS, MAX_NAME, Candidate, FacetValue, Filters, Hit, Match, Prediction, Product, Sure
from app.serving import Service
from tests.ui.sample_shop import DEMO, HOSTILE_TITLES, demo_products, hostile_products, service
from ui import detail, filters, markup, prediction
from ui.address import MAX_SHOWN, Address
from ui.batch_table import predicted_cells
from ui.cards import graded
from ui.examples import examples_for
from ui.language import Labels
from ui.photo import framed, photo_input
from ui.shop import Shop


@pytest.fixture
def shop(shop_service: Service) -> Shop:
    return Shop(shop_service)


def test_signs_of_html_and_templates_are_escaped():
    assert markup.text("<b>&\"'${x}{{y}}`") == (
        "&lt;b&gt;&amp;&quot;&#x27;&#36;&#123;x&#125;&#123;&#123;y&#125;&#125;&#96;"
    )


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//elsewhere.example", "", None])
def test_only_web_addresses_become_links(url: str | None):
    assert markup.link(url, "shop") == "shop"
    assert 'href="https://shop.example/?a=1&amp;b=2"' in markup.link("https://shop.example/?a=1&b=2", "shop")


def test_any_product_id_fits_into_the_address_of_its_pictures():
    assert markup.picture_url('a/b?c#d"e', 1) == "api/v1/products/a%2Fb%3Fc%23d%22e/images/1"


@pytest.mark.parametrize("product", hostile_products(), ids=HOSTILE_TITLES)
def test_a_hostile_product_adds_no_element_and_no_template(product: Product):
    page = detail.detail(product, [], [], Address())
    harmless = detail.detail(
        Product(**{**product.model_dump(), "title": "x", "titles": {"de": "x"}}), [], [], Address()
    )
    assert page.count("<") == harmless.count("<")
    assert "${" not in page
    assert "{{" not in page
    assert "javascript:" not in page


def test_dimensions_are_one_row_and_other_numbers_carry_their_unit():
    sofa = Product(id="1", numbers={"width_cm": 200, "height_cm": 80.5, "weight_kg": 41, "price": 1299, "seats": 3})
    page = detail.detail(sofa, [], [], Address())
    assert "<dd>200 × 80.5 cm (W × H)</dd>" in page
    assert "<dt>Weight</dt><dd>41 kg</dd>" in page
    assert "<dt>Seats</dt><dd>3</dd>" in page
    assert '<span class="price">1,299.00</span>' in page


def test_a_product_in_a_category_that_no_request_may_name_has_its_page():
    deep = Product(id="a", title="A", category=["x" * (MAX_NAME + 1)] * (MAX_LEVELS + 1))
    assert detail.detail(deep, [], [], Address()).count("<li><a ") == MAX_LEVELS + 1


def test_attribution_and_licence_are_part_of_the_product_page(shop: Shop):
    page = shop.product(Address(product="scopia-futon-c2"))
    assert "Licence and attribution" in page
    assert 'href="https://creativecommons.org/licenses/by/3.0/' in page


def test_a_filter_is_added_and_taken_away_by_the_same_click():
    red = filters.toggle(Filters(category=["Furniture"]), "color", "red")
    both = filters.toggle(red, "color", "blue")
    assert both == Filters(category=["Furniture"], attributes={"color": ["red", "blue"]})
    assert filters.toggle(filters.toggle(both, "color", "red"), "color", "blue") == Filters(category=["Furniture"])
    assert filters.toggle(both, "category", "") == Filters(attributes={"color": ["red", "blue"]})


def test_the_category_tree_shows_the_chosen_path_and_one_level_below():
    counts = {"A": 5, "A > B": 4, "A > B > C": 3, "A > D": 1, "E": 2}
    facets = {"category": [FacetValue(value=value, count=count) for value, count in counts.items()]}
    shown = filters.panel(facets, Address(filters=Filters(category=["A", "B"])))
    assert re.findall(r'class="name">(.*?)<', shown) == ["All categories", "A", "B", "C"]


def test_a_chosen_value_stays_in_the_panel_when_no_product_has_it():
    facets = {"color": [FacetValue(value="red", count=3), FacetValue(value="blue", count=0)]}
    shown = filters.panel(facets, Address(filters=Filters(attributes={"color": ["gone"]})))
    assert re.search(r'aria-pressed="true" data-go="\?">.*?>gone<', shown)
    assert "blue" not in shown


def test_attributes_with_very_many_values_come_last():
    brands = [FacetValue(value=f"brand {n}", count=1) for n in range(filters.LONG + 1)]
    shown = filters.panel({"brand": brands, "color": [FacetValue(value="red", count=3)]}, Address())
    assert shown.index("<h3>Color</h3>") < shown.index("<h3>Brand</h3>")


def test_a_photo_is_never_fetched_from_an_address():
    fetch = photo_input("Photo", Labels()).async_move_resource_to_block_cache("http://127.0.0.1:9/photo.jpg")
    with ThreadPoolExecutor(1) as thread, pytest.raises(gr.Error, match="not fetched"):
        thread.submit(asyncio.run, fetch).result()


def test_the_frame_marks_the_box_in_parts_of_the_photo():
    shown = framed(Image.new("RGB", (400, 200)), (40.0, 50.0, 240.0, 150.0), Address(photo="own"))
    assert "left:10.00%;top:25.00%;width:50.00%;height:50.00%" in shown


def test_a_drawn_frame_is_shown_as_it_was_drawn(shop: Shop):
    shown = shop.search(Address(like="bs0-stove-c1", box=(0.1, 0.2, 0.5, 0.9)), None).photo
    assert "left:10.00%;top:20.00%;width:40.00%;height:70.00%" in shown


def test_more_is_offered_up_to_the_limit_of_the_page(shop: Shop):
    assert "data-stay" in shop.search(Address("bed"), None).results
    assert "data-stay" not in shop.search(Address("bed", shown=MAX_SHOWN), None).results


def test_nothing_is_searched_for_empty_boxes(shop: Shop):
    assert shop.search(Address("  "), None) == ("", "", "")


@pytest.mark.parametrize(
    ("address", "upload", "message"),
    [
        (Address("x" * 10_000), None, "10000 characters"),
        (Address(photo="own"), "/no/such/upload.jpg", "no longer on the server"),
        (Address(photo="own"), None, "cannot hold; add it again"),
        (Address(photo="../../secret"), None, "unknown; add a photo of your own"),
        (Address(like="no-such-product"), None, "no-such-product"),
        (Address("bed", filters=Filters(attributes={"flavour": ["mint"]})), None, "flavour"),
        (Address("bed", sort="<weight>"), None, "cannot be sorted by &#x27;&lt;weight&gt;"),
    ],
)
def test_bad_input_becomes_a_notice(shop: Shop, address: Address, upload: str | None, message: str):
    _, panel, results = shop.search(address, upload)
    assert panel == ""
    assert 'role="alert"' in results
    assert message in results


def test_an_unknown_product_becomes_a_notice(shop: Shop):
    assert 'role="alert"' in shop.product(Address(product="no-such-product"))


def test_without_an_index_every_answer_says_how_to_build_one(tmp_path):
    running = service(tmp_path, [])
    shop = Shop(running)
    for answer in (shop.landing(), shop.search(Address("bed"), None).results):
        assert "indexer rebuild" in answer
    assert "0 products" not in shop.header()
    running.close()


def test_prediction_bars_show_the_best_candidates_of_each_level_and_attribute():
    shown = prediction.bars(
        Prediction(
            categories=[
                [Candidate(label="Furniture", probability=0.912)],
                [Candidate(label="Furniture > Beds", probability=0.5)],
            ],
            attributes={"color": [Candidate(label=f"shade {n}", probability=0.1) for n in range(9)]},
        )
    )
    assert "Category, level 1" in shown
    assert "width:91.2%" in shown
    assert ">Beds</a>" in shown
    assert 'href="?q=Beds&amp;category=Furniture&amp;category=Beds' in shown
    assert 'data-narrow="?category=Furniture&amp;category=Beds"' in shown
    assert shown.count("shade") == 2 * prediction.SHOWN


def test_examples_belong_to_the_demo_catalog_only(tmp_path):
    assert len(examples_for(str(DEMO / "catalog.parquet"))) >= 6
    assert examples_for(str(tmp_path / "catalog.parquet")) == []


def test_why_a_product_matched_is_offered_for_a_search_and_a_picture(shop: Shop):
    pictured = demo_products()[0].id
    address = Address("bed", product=pictured)
    assert "data-why" in shop.product(address)
    assert "data-why" not in shop.product(Address(product=pictured))
    assert "data-why" not in shop.product(address, shop.matched(address, None))
    assert "Coloured parts bring the picture nearer to your search" in shop.matched(address, None)
    assert 'role="alert"' in shop.matched(Address("bed", product="no-such-product"), None)


def hits(*levels: Match | None) -> list[Hit]:
    return [Hit(product=Product(id=str(n)), score=0.5, match=level) for n, level in enumerate(levels)]


def test_results_stand_apart_by_match_level():
    shown = graded(hits("best", "best", "related", "none"), True, Address("sofa"))
    parts = re.findall(r"<h3.*?>(.*?)</h3>(.*?)(?=<h3|$)", shown)
    assert [(title, cards.count('class="card"')) for title, cards in parts] == [
        ("Best matches", 2),
        ("Related", 1),
        ("Further away", 1),
    ]


def test_without_a_best_match_what_is_related_comes_closest():
    shown = graded(hits("related", "none"), True, Address("sofa"))
    assert re.findall(r"<h3.*?>(.*?)</h3>", shown) == ["Closest matches", "Further away"]


@pytest.mark.parametrize(
    ("level", "matched", "address"),
    [(None, None, Address("sofa")), ("best", True, Address("sofa", sort="price"))],
    ids=["a model that cannot tell", "another order"],
)
def test_results_stand_together_where_levels_would_say_nothing(level: Match | None, matched: bool | None, address):
    assert "<h3" not in graded(hits(level), matched, address)


def test_a_search_for_what_the_catalog_has_not_is_said_so_before_the_nearest_products():
    shown = graded(hits("none"), False, Address("flight to Paris"))
    assert shown.index("nothing like your search") < shown.index('class="card"')
    within = graded(hits("none"), False, Address("flight to Paris", filters=Filters(category=["Furniture"])))
    assert within.index("Nothing that fulfils the filters") < within.index('class="card"')
    assert "catalog seems to hold nothing" not in within


def test_a_prediction_that_is_not_sure_says_so():
    candidates = [Candidate(label="x", probability=0.6)]
    predicted = Prediction(
        categories=[candidates, candidates],
        attributes={"color": candidates, "room": candidates},
        sure=Sure(categories=[True, False], attributes={"color": False, "room": True}),
    )
    blocks = re.findall(r"<section.*?</section>", prediction.bars(predicted))
    assert ["not sure" in block for block in blocks] == [False, True, True, False]
    cells = predicted_cells(predicted)
    assert [cells[f"{name} sure"] for name in ("category.1", "category.2", "attributes.color")] == ["yes", "no", "no"]
