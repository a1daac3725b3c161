"""The page about a training run: its charts, its tables, and what hostile or broken input does to them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from trainer.training.charts import Course
from trainer.training.report import write_report

HOSTILE = "</td></svg><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)> $\\frac{$ &amp;"
CHARTS = [
    "Loss",
    "Recall in validation",
    "Temperature",
    "Negatives",
    "Masked negatives",
    "Weights of objectives",
    "Samples counted in full",
    "Learning rate",
    "Gradient norm",
    "Expert load, visual tokens",
    "Expert load, other tokens",
    "Expert load, category tokens",
    "Expert load, attribute tokens",
    "Expert use, image queries",
    "Expert use, both queries",
    "Objectives of every expert",
]
EVEN = {
    "visual": [0.9, 0.1, 0, 0],
    "other": [0.5, 0.5, 0, 0],
    "category": [0.3, 0.3, 0.4, 0],
    "attribute": [0.2, 0.2, 0, 0.6],
}
USE = {"image": [0.7, 0.3], "both": [0.4, 0.6]}


def event(step: int, stage: str = "whole", **numbers: Any) -> dict[str, Any]:
    full = {"loss": 1 / step, "learning_rate": 1e-5, "grad_norm": 0.5, "temperature": 0.05, "negatives": 31.0}
    weighed = {"weight_image": 1.2, "weight_both": 0.8, "kept": 0.9}
    experts = {"expert_load": EVEN, "expert_use": USE, "expert_objectives": [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]}
    return {"stage": stage, "step": step, **full, "masked": 1.5, **weighed, **experts, **numbers}


def history(events: int = 5) -> list[dict[str, Any]]:
    recall = {"stage": "whole", "step": 3, "eval_image_r1": 0.25, "eval_text_r10": 0.5, "eval_runtime": 3.0}
    return [*(event(step) for step in range(1, events + 1)), recall, {**recall, "step": 5, "eval_text_r10": 0.125}]


class Page(HTMLParser):
    """Captions, cell texts by row, and every tag with its attributes."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.text = file.read_text()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.captions: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "figcaption":
            self.captions.append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "figcaption" in self.open:
            self.captions[-1] += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def page(folder: Path, history: list[dict[str, Any]], setup: dict[str, Any] | None = None) -> Page:
    file = write_report(folder, history, setup or {})
    assert file == folder / "report.html"
    return Page(file)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Page:
    setup = {"problems": [f"row {n}" for n in range(250)], HOSTILE: {"a": 1}}
    return page(tmp_path_factory.mktemp("run"), history(), setup)


def test_a_full_history_gives_every_chart(full):
    assert full.captions == CHARTS
    assert [tag for tag, _ in full.tags].count("svg") == len(CHARTS)


def test_a_long_history_is_drawn_with_a_smoothed_loss(tmp_path):
    found = page(tmp_path, history(500))
    assert found.captions == CHARTS
    assert len(found.text) < 1_000_000


def test_a_joint_run_shows_its_queries_and_the_part_and_temperature_of_alignment(tmp_path):
    found = page(tmp_path, [event(step, queries=2.5, intra=0.3, intra_temperature=0.06) for step in (1, 2)])
    assert "Queries per triplet" in found.captions
    assert all(label in found.text for label in (">intra<", ">intra temperature<"))


def test_numbers_that_are_missing_leave_their_chart_out(tmp_path):
    log = [{"stage": "boxes", "step": step, "loss": 0.5} for step in (1, 2)]
    assert page(tmp_path, log).captions == ["Loss"]


def test_a_history_without_events_says_so_and_keeps_the_setup(tmp_path):
    found = page(tmp_path, [], {"seed": 7})
    assert "No event was logged" in found.text
    assert found.captions == []
    assert ["seed", "7"] in found.rows


def test_sections_stand_between_charts_and_tables(tmp_path):
    text = write_report(tmp_path, history(), {"seed": 7}, ["<p>one</p>", "<p>two</p>"]).read_text()
    assert text.rindex("</figure>") < text.index("<p>one</p>\n<p>two</p>") < text.index("<h2>Run</h2>")


def test_the_page_needs_nothing_from_elsewhere(full):
    assert not {"script", "link", "img", "iframe", "object", "base"} & {tag for tag, _ in full.tags}
    for _, attributes in full.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "action", "data"):
                assert str(value).startswith("#")
    assert not re.search(r"url\((?!#)|@import", full.text)


def test_pictures_refer_only_to_parts_of_their_own(full):
    names = re.findall(r' id="([^"]+)"', full.text)
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', full.text)) <= set(names)


def test_hostile_text_stays_text(tmp_path):
    log = [{"stage": HOSTILE, "step": 1}, {"stage": "next", "step": 1, f"eval_{HOSTILE}_r1": 0.5}]
    setup = {HOSTILE: {HOSTILE: {"value": HOSTILE, "reason": HOSTILE}}, "problems": [HOSTILE, {"row": HOSTILE}]}
    found = page(tmp_path, log, setup)
    assert not {"script", "img"} & {tag for tag, _ in found.tags}
    assert [HOSTILE, HOSTILE, HOSTILE] in found.rows
    assert ["problems", f"{HOSTILE}\n{json.dumps({'row': HOSTILE})}"] in found.rows
    assert [f"{HOSTILE}_r1", "0.500", "2", "0.500"] in found.rows


@pytest.mark.parametrize("number", [float("nan"), float("inf"), None, "much"])
def test_what_is_no_number_breaks_nothing(tmp_path, number: Any):
    broken = {"loss": number, "temperature": number, "eval_image_r1": number, "expert_load": {"other": [number] * 4}}
    broken["expert_use"] = {"image": [number] * 2}
    assert page(tmp_path, [event(1, **broken)]).captions == [*CHARTS[3:9], CHARTS[-1]]


def test_one_broken_event_leaves_the_others_in_their_charts():
    course = Course.of([event(1), event(2, loss=float("nan"), expert_load={"other": [float("nan")] * 4}), event(3)])
    assert course.series("loss") == ([1, 3], [1, 1 / 3])
    assert course.shares("expert_load", "other") == ([1, 3], [EVEN["other"]] * 2)


def test_a_loss_that_was_no_number_is_named_with_its_step(tmp_path):
    losses = enumerate([0.5, float("nan"), float("inf")], start=1)
    text = page(tmp_path, [{"stage": "whole", "step": step, "loss": loss} for step, loss in losses]).text
    assert "loss was no finite number at step 2 (2 of 3 events)." in text


@pytest.mark.parametrize("rates", [[0.0], [0.0, 1e-5]])
def test_a_learning_rate_that_begins_at_zero_is_drawn(tmp_path, rates: list[float]):
    log = [{"stage": "whole", "step": step, "learning_rate": rate} for step, rate in enumerate(rates)]
    assert page(tmp_path, log).captions == ["Learning rate"]


def test_best_and_last_recalls_are_a_table_and_other_evaluation_numbers_are_not(full):
    rows = full.rows
    assert ["image_r1", "0.250", "3", "0.250"] in rows
    assert ["text_r10", "0.500", "3", "0.125"] in rows
    assert not any("runtime" in row[0] for row in rows)


def test_the_setup_becomes_tables_with_reasons_where_there_are_some(tmp_path):
    settings = {"batch": {"value": 32, "reason": "80 GB"}, "loss": {"memory": {"value": 2, "reason": "paper"}}}
    rows = page(tmp_path, [], {"preset": "starter", "settings": settings, "data": {"records": {"train": 9}}}).rows
    assert ["preset", "starter"] in rows
    assert ["batch", "32", "80 GB"] in rows
    assert ["loss / memory", "2", "paper"] in rows
    assert ["records / train", "9"] in rows


def test_long_lists_are_cut_and_say_so(full):
    shown = next(row[1] for row in full.rows if row[0] == "problems").split("\n")
    assert shown[99:] == ["row 99", "and 150 more"]


def test_stages_that_count_anew_follow_each_other_and_others_go_on():
    restarted = Course.of([event(1, "a"), event(9, "a"), event(1, "b"), event(4, "b"), event(2, "c")])
    assert restarted.places == (1, 9, 10, 13, 15)
    assert restarted.stages == ((0, "a"), (9, "b"), (13, "c"))
    assert Course.of([event(9, "a"), event(10, "b"), event(14, "b")]).places == (9, 10, 14)


def test_expert_loads_of_another_number_of_experts_are_left_out():
    log = [event(1), event(2, expert_load={"other": [1.0]}), event(3)]
    assert Course.of(log).shares("expert_load", "other") == ([1, 3], [EVEN["other"]] * 2)
