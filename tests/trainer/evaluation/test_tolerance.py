from __future__ import annotations

import dataclasses
import json
import sys

import pytest

from app.complete import Completed
from app.schema import Product
from app.settings import Settings
from trainer import cli
from trainer.data.home import DevelopmentSet, HomeSet
from trainer.evaluation.fillings import fillings
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.tolerance import BOTH, LACKING, NAME, PHOTO, ToleranceTest, training_completer


@pytest.fixture
def gallery(home_folder, embedder):
    return Gallery(HomeSet(home_folder), embedder, None, Settings(_env_file=None))


def by_name(rows, who, field, query, k=10):
    return next(row for row in rows if (row.who, row.field, row.query, row.k) == (who, field, query, k))


def measured_by(gallery):
    with training_completer(gallery, least=0.0) as completer:
        return ToleranceTest(gallery, "test", 0).measure(completer)


@pytest.fixture
def measured(gallery):
    return measured_by(gallery)


def test_a_name_does_not_find_products_without_words_and_titles_alone_do_not_matter_beside_labels(measured):
    rows, _ = measured
    words = by_name(rows, "product", "all words", NAME, k=1)
    assert (words.n, words.whole.value, words.without.value, words.lost.value) == (2, 1.0, 0.0, 1.0)
    assert by_name(rows, "product", "title", NAME, k=1).lost.value < 1.0


def test_lost_and_recovered_are_differences_of_recalls(measured):
    rows, _ = measured
    for row in rows:
        assert row.lost.value == pytest.approx(row.whole.value - row.without.value)
        if row.completed:
            assert row.recovered.value == pytest.approx(row.completed.value - row.without.value)


def test_every_field_of_products_and_queries_is_taken_away_and_pictures_cannot_be_completed(measured):
    rows, _ = measured
    asked = {(row.who, row.field, row.query): row.completed is not None for row in rows}
    products = {("product", field, query): field != "picture" for field in LACKING for query in (PHOTO, NAME, BOTH)}
    assert asked == products | {("query", "name", BOTH): True, ("query", PHOTO, BOTH): False}


def test_the_other_products_and_the_gallery_itself_stay_as_they_are(gallery, measured):
    assert [product for product in gallery.products if not product.title] == []
    test = ToleranceTest(gallery, "test", 0)
    assert {gallery.products[row].group_id for row in test.rows} == {"bench-t", "desk-t"}


def test_names_that_other_products_bear_as_well_are_not_asked_alone(gallery):
    gallery.home.products[0] = dataclasses.replace(gallery.home.products[0], names=(("en", "Bench"),))
    rows, _ = measured_by(gallery)
    assert by_name(rows, "product", "title", NAME).n == 1


def test_only_training_products_vote(gallery):
    training = {gallery.products[row].id for row in gallery.training}
    with training_completer(gallery, least=0.0) as completer:
        (done,) = completer.complete_many([Product(id="?", title="red bench")], [[]])
    named = {key for one in done.proposals for key in one.neighbours}
    assert named
    assert named <= training


def test_a_limit_draws_designs(gallery):
    test = ToleranceTest(gallery, "test", 0, limit=1)
    assert (test.designs, len(test.rows)) == (1, 2)


def test_fillings_are_right_on_the_true_path_and_among_the_true_values():
    true = Product(id="1", category=["Home", "Seats", "chair"], attributes={"color": ["red", "white"]})
    done = [
        Completed(true.model_copy(update={"category": ["Home", "Seats"]}), [], frozenset({"category", "title"})),
        Completed(true.model_copy(update={"category": ["Garden"]}), [], frozenset({"category"})),
        Completed(true.model_copy(update={"attributes": {"color": ["white"]}}), [], frozenset({"attributes.color"})),
        Completed(true.model_copy(update={"attributes": {"size": ["M"]}}), [], frozenset({"attributes.size"})),
    ]
    category, colour = fillings("all words", [true] * 4, done, 0)
    assert (category.field, category.products, category.filled, category.right.value) == ("category", 4, 2, 0.5)
    assert (colour.field, colour.filled, colour.right.value) == ("attributes.color", 1, 1.0)


@pytest.fixture
def tolerance(monkeypatch, capsys, tmp_path):
    """``trainer tolerance`` with more arguments; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "data"))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainer", "tolerance", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


def test_the_command_shows_tables_and_writes_all_numbers(tolerance, checkpoint, home_folder, tmp_path):
    file = tmp_path / "missing.json"
    code, output, _ = tolerance(checkpoint, "--data", home_folder, "--split", "dev", "--json", file)
    assert code == 0
    for words in (
        "Missing fields: R@1",
        "Missing fields: R@10",
        "What was filled in",
        "Split dev: 2 SKUs of 1 designs",
    ):
        assert words in " ".join(output.split())
    found = json.loads(file.read_text())
    assert found["setup"]["products"] == len(DevelopmentSet(home_folder).products)
    assert {row["field"] for row in found["rows"]} == {*LACKING, "name", PHOTO}


def test_without_the_set_the_command_asks_for_it(tolerance, tmp_path):
    code, _, error = tolerance("--data", tmp_path)
    assert (code, error.startswith(f"Error: {tmp_path} does not hold the home-goods set")) == (1, True)
