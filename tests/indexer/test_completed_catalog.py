from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from app.calibration import UNCALIBRATED
from app.complete import Completer
from app.errors import BadInputError
from app.serving import Service
from indexer.complete import CATALOG, PROPOSALS, Completion, complete
from indexer.rebuild import rebuild


@pytest.fixture
def completed(shop, tmp_path):
    """Complete rows with the shop's index; returns what was done, the products by id and the proposals."""
    shop.rebuild()
    service = Service(shop.settings, shop.embedder, shop.store, UNCALIBRATED)

    def run(*rows: dict | str, out: Path = tmp_path / "out") -> tuple[Completion, dict[str, dict], list[dict]]:
        file = tmp_path / "gaps.jsonl"
        file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        outcome = complete(str(file), out, Completer(service.predictor, 0.3), shop.settings)
        products = map(json.loads, (out / CATALOG).read_text().splitlines())
        with (out / PROPOSALS).open(encoding="utf-8-sig", newline="") as proposals:
            return outcome, {product["id"]: product for product in products}, list(csv.DictReader(proposals))

    yield run
    service.close()


WHOLE = {"id": "w", "title": "red chair", "category": "Odd > Things", "attributes": {"color": ["pink"]}, "price": 3}


def test_gaps_are_filled_and_nothing_else_is_changed(completed, shop):
    gaps = {"id": "g", "title": "green", "price": 7}
    outcome, products, proposals = completed(WHOLE, gaps)
    assert products["w"]["attributes"] == {"color": ["pink"]}
    assert products["w"]["category"] == ["Odd", "Things"]
    assert products["g"]["category"] == ["Furniture", "Chairs"]
    assert products["g"]["attributes"] == {"color": ["green"]}
    assert products["g"]["numbers"] == {"price": 7.0}
    assert {row["id"] for row in proposals} == {"g"}
    assert (outcome.products, outcome.completed, outcome.fields["category"]) == (2, 1, (1, 1))


def test_every_proposal_says_how_probable_it_is_and_who_says_so(completed):
    *_, proposals = completed({"id": "g", "title": "green"})
    colour = next(row for row in proposals if row["field"] == "attributes.color")
    assert (colour["value"], colour["sure"], colour["filled in"], colour["source"]) == (
        "green",
        "",
        "yes",
        "neighbours",
    )
    assert 0.3 <= float(colour["confidence"]) <= 1
    assert "chair-1" in colour["neighbours"].split("|")


def test_a_bad_row_costs_itself(completed, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = ["{broken", {"id": "n"}, {"id": "b", "images": ["broken.png"]}, {"id": "g", "title": "green"}]
    outcome, products, _ = completed(*rows)
    assert set(products) == {"b", "g"}
    assert products["b"]["images"] == [str(tmp_path / "broken.png")]
    assert products["g"]["category"] == ["Furniture", "Chairs"]
    assert outcome.report.count("reject") == 2
    assert "nothing to predict from" in " ".join(problem.reason for problem in outcome.report.problems)


def test_the_completed_catalog_can_be_indexed(completed, shop, tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    completed({"id": "g", "title": "green"}, {"id": "p", "images": ["red.png"]})
    outcome = rebuild(str(tmp_path / "out" / CATALOG), settings=shop.settings, store=shop.store, model=shop.model())
    assert (outcome.products, outcome.report.count("reject")) == (2, 0)
    assert shop.product("p").title


def test_formulas_are_no_formulas_in_the_table(completed):
    *_, proposals = completed({"id": "=1+1", "title": "green"})
    assert {row["id"] for row in proposals} == {"'=1+1"}


def test_nothing_that_is_there_is_written_over(completed, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PROPOSALS).write_text("mine")
    with pytest.raises(BadInputError, match="is there already"):
        completed(WHOLE)
    assert (tmp_path / "out" / PROPOSALS).read_text() == "mine"
