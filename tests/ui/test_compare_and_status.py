"""The tabs for whoever runs the shop: Compare and Status."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

import app.moon
from app.api import create_api
from app.encoder import Vectors
from app.schema import Box, Hit, Product, Query
from app.serving import Service
from tests.served import served
from tests.ui.sample_shop import BUILD, HOSTILE_TITLES, BoxFindingEmbedder, demo_products, make_build, service
from ui.compare import Comparing, side_by_side
from ui.page import mount
from ui.status import age, status

OLDER, TRIAL = "20261120T060000-1a2b3c", "20261122T060000-1a2b3c"


class BedEmbedder(BoxFindingEmbedder):
    """Another model: it takes skirts for beds."""

    name = "beds"
    fingerprint = "beds-1"

    def embed_queries(self, queries: Sequence[Query]) -> tuple[Vectors, list[Box | None]]:
        return super().embed_queries([Query(query.text.replace("skirt", "bed"), query.image) for query in queries])


@pytest.fixture
def judged(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A shop with an older build that lacks its skirts, and a build of the second model."""
    monkeypatch.setattr(app.moon, "load_encoder", lambda settings: BedEmbedder(), raising=False)
    products = demo_products()
    running = service(tmp_path, products, compare_model="models/beds")
    make_build(running.settings, BoxFindingEmbedder(), [p for p in products if "skirt" not in p.title], OLDER)
    make_build(running.settings, BedEmbedder(), products, TRIAL, on_trial=True)
    yield running
    running.close()


@pytest.fixture
def judged_url(judged: Service) -> Iterator[str]:
    with served(mount(create_api(judged), judged)) as url:
        yield f"{url}/"


def hits(*ids: str) -> list[Hit]:
    return [Hit(product=Product(id=name, title=f"Title of {name}"), score=0.5) for name in ids]


def test_each_side_says_where_the_other_has_a_product():
    shown = side_by_side(("old", hits("a", "b", "c")), ("new", hits("a", "c", "d")))
    rows = re.findall(r"<li>.*?</li>", shown)
    assert "2 of the best 3 are on both sides" in shown
    assert ["there" in row for row in rows] == [False, False, True, False, True, False]
    assert ["only here" in row for row in rows] == [False, True, False, False, False, True]


def test_texts_of_the_catalog_are_escaped_on_both_sides():
    found = [Hit(product=Product(id="1", title=title), score=0.5) for title in HOSTILE_TITLES]
    shown = side_by_side(("old", found), ("new", found))
    assert not any(title in shown for title in HOSTILE_TITLES)


def test_an_empty_query_becomes_a_notice(shop_service: Service):
    assert 'role="alert"' in Comparing(shop_service).compare(" ", None, "FUSED ", "MEANING ")


def test_the_status_names_model_build_and_counts(shop_service: Service):
    shown = status(shop_service)
    for fact in ("colour-words", BUILD, "44", "MB", "yes"):
        assert fact in shown


def test_the_status_says_which_build_is_on_trial(judged: Service):
    rows = re.findall(r"<tr>.*?</tr>", status(judged))
    states = {build: next(row for row in rows if build in row) for build in (BUILD, OLDER, TRIAL)}
    assert [row.endswith("<td>on trial</td></tr>") for row in states.values()] == [False, False, True]


def test_the_status_tells_how_long_answers_take(shop_service: Service):
    shop_service.metrics.observe({"embed": 12.0, "total": 34.5})
    shown = status(shop_service)
    assert "<td>total</td>" in shown
    assert "95 % within" in shown


def test_the_age_is_told_in_the_largest_unit_that_fits():
    created = datetime(2026, 1, 1, tzinfo=UTC)
    spans = {
        "2 days": timedelta(days=2, hours=23),
        "1 hour": timedelta(minutes=61),
        "less than a minute": timedelta(seconds=59),
    }
    assert [age(created, now=created + span) for span in spans.values()] == list(spans)


def test_without_an_index_the_status_says_how_to_build_one(tmp_path):
    running = service(tmp_path, [])
    assert "indexer rebuild" in status(running)
    running.close()


@pytest.mark.browser
def test_one_query_is_compared_in_two_ways(open_page: Callable[..., Page], shop_url: str):
    page = open_page(shop_url)
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Query", exact=True).fill("purple skirt")
    page.get_by_label("Right").click()
    page.get_by_role("option", name="Published build, words").click()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared h2")).to_have_text(["Published build, meaning and words", "Published build, words"])
    expect(page.locator("#compared ol").first.locator("li a").first).to_have_text("Purple skirt")


def test_every_kept_build_is_offered_and_named_by_its_model(judged: Service):
    assert Comparing(judged).choices() == [
        ("Published build, meaning and words", "FUSED "),
        ("Published build, meaning", "MEANING "),
        ("Published build, words", "WORDS "),
        (f"beds, meaning and words (build {TRIAL})", f"FUSED {TRIAL}"),
        (f"beds, meaning (build {TRIAL})", f"MEANING {TRIAL}"),
        (f"Build {OLDER}, meaning and words", f"FUSED {OLDER}"),
        (f"Build {OLDER}, meaning", f"MEANING {OLDER}"),
    ]


def test_a_build_that_was_published_meanwhile_is_still_compared(judged: Service):
    judged.store.publish(OLDER)
    judged.live.close()
    shown = Comparing(judged).compare("bed", None, f"FUSED {OLDER}", f"FUSED {BUILD}")
    assert f'<h2 class="section">Build {OLDER}, meaning and words</h2>' in shown
    assert f'<h2 class="section">Build {BUILD}, meaning and words</h2>' in shown


def test_a_build_that_was_dropped_meanwhile_is_a_notice(judged: Service):
    judged.store.drop(OLDER)
    shown = Comparing(judged).compare("bed", None, "FUSED ", f"FUSED {OLDER}")
    assert 'role="alert"' in shown
    assert f"Build {OLDER} is not kept any more; choose another one" in shown


def test_a_build_whose_model_is_not_at_hand_is_a_notice(judged: Service):
    judged.settings.compare_model = None
    shown = Comparing(judged).compare("bed", None, "FUSED ", f"FUSED {TRIAL}")
    assert 'role="alert"' in shown
    assert "set MOON_COMPARE_MODEL to its checkpoint" in shown


def choose(page: Page, side: str, option: str) -> None:
    page.get_by_label(side).click()
    page.get_by_role("option", name=option, exact=True).click()
    expect(page.get_by_role("option")).to_have_count(0)


def best(page: Page, side: int) -> list[str]:
    """Titles of a side's first three products."""
    return page.locator("#compared ol").nth(side).locator("li a").all_text_contents()[:3]


@pytest.mark.browser
def test_two_builds_of_one_model_and_of_two_models_are_compared(judged_url: str, open_page: Callable[..., Page]):
    page = open_page(judged_url)
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Query", exact=True).fill("purple skirt")

    choose(page, "Right", f"Build {OLDER}, meaning and words")
    page.get_by_role("button", name="Compare").click()
    titles = page.locator("#compared h2")
    expect(titles).to_have_text(["Published build, meaning and words", f"Build {OLDER}, meaning and words"])
    assert best(page, 0)[0] == "Purple skirt"
    assert not any("skirt" in title for title in best(page, 1))
    expect(page.locator("#compared ol").first.locator("li").first).to_contain_text("only here")

    choose(page, "Left", "Published build, meaning")
    choose(page, "Right", f"beds, meaning (build {TRIAL})")
    page.get_by_role("button", name="Compare").click()
    expect(titles).to_have_text(["Published build, meaning", f"beds, meaning (build {TRIAL})"])
    assert best(page, 0)[0] == "Purple skirt"
    assert "bed" in best(page, 1)[0]


@pytest.mark.browser
def test_builds_come_and_go_while_the_page_is_open(judged: Service, judged_url: str, open_page: Callable[..., Page]):
    page = open_page(judged_url)
    make_build(judged.settings, BoxFindingEmbedder(), demo_products()[:5], "20261123T060000-1a2b3c")
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Query", exact=True).fill("bed")
    choose(page, "Right", "Build 20261123T060000-1a2b3c, meaning")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared ol").nth(1).locator("li")).to_have_count(5)

    judged.store.drop("20261123T060000-1a2b3c")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compared [role=alert]")).to_contain_text("is not kept any more; choose another one")
    page.get_by_role("tab", name="Status").click()
    page.get_by_role("tab", name="Compare").click()
    expect(page.get_by_label("Right")).to_have_value("Published build, meaning")


@pytest.mark.browser
def test_the_status_is_read_when_its_tab_is_opened(open_page: Callable[..., Page], shop_url: str):
    page = open_page(shop_url)
    page.get_by_role("tab", name="Status").click()
    expect(page.get_by_role("region", name="Kept builds")).to_contain_text(BUILD)
