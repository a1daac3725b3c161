from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console

from trainer.evaluation.metrics import Score
from trainer.evaluation.page import page
from trainer.evaluation.plots import plots
from trainer.evaluation.published import published
from trainer.evaluation.report import show
from trainer.evaluation.results import CategoryRecall, Cell, Comparison, ModelResult, Prediction
from trainer.evaluation.tables import measured_tables, published_tables

EVIL = "<script>alert('$x$')</script> [bold]"


def score(value: float) -> Score:
    return Score(value, value / 2, value)


def model(name: str, value: float = 0.25) -> ModelResult:
    scores = {k: score(value) for k in (1, 5, 10)}
    return ModelResult(
        name=name,
        family="colours",
        version="abc",
        dimensions=3,
        cells=[Cell("text", "both", 9, scores, {k: score(0.75) for k in scores}, score(0.5))],
        categories=[CategoryRecall(f"{EVIL} {n}", 20 - n, {"text": 0.5}) for n in range(12)],
        predictions=[
            Prediction("category to level 4", "top-1", 7, 4, score(0.5), 0.1, 0.2, 0.3),
            Prediction(EVIL, "top-1", 7, 4, score(0.5), 0.1, 0.2, 0.3),
        ],
        left_out={"queries": 2, "products": 0},
        broken=["/pictures/gone.png: the picture cannot be read"],
        seconds=1.5,
    )


def comparison(*models: ModelResult, data_format: str = "mbe") -> Comparison:
    setup = {
        "data": {"name": EVIL, "format": data_format, "fingerprint": "f0"},
        "split": "test",
        "queries": 9,
        "gallery": 5,
        "seed": 4,
        "warnings": ["careful"],
        "versions": {"torch": "2"},
        **{"python": "3", "machine": "m", "cores": 2, "threads": 1, "device": "cpu", "detector": "auto", "seconds": 3},
    }
    return Comparison(setup, list(models), published(data_format), {})


@pytest.fixture(scope="module")
def html() -> str:
    return page(comparison(model(EVIL), model("plain", 0.75)))


def test_the_page_escapes_what_comes_from_data_and_models(html):
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#x27;$x$&#x27;)&lt;/script&gt; [bold]" in html


def test_the_page_needs_nothing_from_elsewhere(html):
    assert not re.search(r"https?:|//|url\(|@import", re.sub(r"base64,[^']*", "", html))
    assert "default-src 'none'" in html


def test_the_page_takes_the_width_of_a_phone(html):
    assert '<meta name="viewport" content="width=device-width' in html


def test_the_page_shows_four_plots_as_pictures(html):
    found = re.findall(r"src='data:image/svg\+xml;base64,([^']+)'", html)
    assert len(found) == 4
    for data in found:
        assert float(ElementTree.fromstring(base64.b64decode(data)).get("width").removesuffix("pt")) > 200  # noqa: S314


def test_names_in_plots_stay_text_without_a_warning_for_foreign_letters_and_are_cut(recwarn):
    drawn = b"".join(svg for _, svg in plots(comparison(model("椅子 $x$ " + "long " * 20))))
    assert "椅子 $x$ long" in drawn.decode()
    assert "long " * 10 not in drawn.decode()
    assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []


def test_published_numbers_stand_in_their_own_part_of_the_page(html):
    measured, marked = html.split("<section class='published'>")
    assert "96.28" in marked
    assert "96.28" not in measured
    assert "Published, not measured here" in marked


def test_data_unknown_to_the_papers_have_no_published_part():
    assert "ublished" not in page(comparison(model("a"), data_format="shop")).replace(".published {", "")


def test_measured_and_published_columns_are_never_mixed():
    tables = comparison(model("a"))
    for table in measured_tables(tables):
        assert table.header[-1] == "a"
        assert "MOON" not in table.header
    for table in published_tables(tables):
        assert "not measured here" in table.title
        assert "a" not in table.header


def test_models_without_a_number_show_a_dash():
    table = measured_tables(comparison(model("a"), ModelResult("b", "", "", 3, [], [], [], {}, [], 0)))[0]
    assert {row[-1] for row in table.rows} == {"-"}


def printed(found: Comparison) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    show(found, console)
    return console.export_text()


def test_the_terminal_shows_measured_tables_setup_and_what_was_left_out():
    text = printed(comparison(model(EVIL)))
    for words in (
        "R@10, duplicates count",
        "0.250 [0.125, 0.250]",
        "nDCG@10",
        "accuracy; macro precision, recall, F1",
        "2 queries left out",
        "Pictures that could not be read: 1, the first: /pictures/gone.png",
        "Warning: careful",
        "published, not measured here (MOON, arXiv 2508.11999)",
        "split test: 9 queries, 5 products in the gallery",
        "[bold]",
    ):
        assert words in text


def test_the_terminal_shows_the_largest_categories_and_the_page_all(html):
    text = printed(comparison(model("a")))
    assert "the 10 with most queries of 12" in text
    assert f"{EVIL} 11" not in text
    assert "[bold] 11" in html
