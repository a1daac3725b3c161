from __future__ import annotations

import json
import shutil
import sys

import pytest

from app.calibration import FILE, read_calibration
from app.errors import ModelError
from app.moon.fingerprint import model_fingerprint
from app.settings import Settings
from trainer import cli
from trainer.calibration.calibrate import write_calibration
from trainer.data.home import DevelopmentSet, HomeSet
from trainer.data.home_corpus import split_records
from trainer.data.leakage import designs_of, refuse_calibrated_on_test
from trainer.evaluation.home import evaluate
from trainer.evaluation.scores import MOON, UNCALIBRATED


@pytest.fixture(scope="module")
def development_folder(home_folder, tmp_path_factory):
    """The set without the tables of test queries: nothing can read them."""
    folder = tmp_path_factory.mktemp("development")
    shutil.copytree(home_folder, folder, dirs_exist_ok=True)
    for name in ("queries.parquet", "mixed_queries.parquet"):
        (folder / name).unlink()
    for photo in HomeSet(folder).photos:
        if photo.split == "test":
            (folder / photo.path).unlink()
    return folder


@pytest.fixture(scope="module")
def settings(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    return Settings(_env_file=None, model=str(folder), device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def written(settings, development_folder):
    before = model_fingerprint(settings.model, settings)
    file = write_calibration(settings, development_folder)
    return file, before


def test_the_development_set_holds_nothing_of_the_test_split(home):
    held_out = {item.product.group_id for item in home.products if item.split == "test"}
    development = DevelopmentSet(home.root)
    assert held_out
    assert held_out.isdisjoint(item.product.group_id for item in development.products)
    assert held_out.isdisjoint(photo.group_id for photo in development.photos)
    assert not any(photo.shows_test_model for photo in development.photos)
    assert {record.split for record in split_records(development, "dev")} == {"dev"}
    with pytest.raises(ValueError, match="of the test split"):
        _ = development.queries


def test_it_is_learned_without_the_test_split_and_read_by_the_server(written, settings, home):
    file, before = written
    assert file.name == FILE
    assert model_fingerprint(settings.model, settings) == before
    found = read_calibration(file.parent, before)
    assert set(found.categories) == set(found.attributes) == set(found.search) == {"photo", "text", "both"}
    assert list(found.designs) == designs_of(home, "dev")
    refuse_calibrated_on_test(found, home)


def test_an_evaluation_says_what_it_is_worth_on_held_out_designs(written, settings, home_folder):
    evaluation = evaluate(settings, home_folder)
    assert evaluation.setup["calibrated"]
    rows = {(row.section, row.query, row.metric): row.scores for row in evaluation.rows}
    errors = rows["certainty of predictions", "words", "category level 2: calibration error"]
    assert errors.keys() == {MOON, UNCALIBRATED}
    shares = [metric for section, _, metric in rows if section == "certainty of predictions"]
    assert "category level 1: share of sure answers" in shares
    assert ("match levels", "text", "known queries that are told of a match") in rows


def test_a_calibration_from_test_designs_is_refused(written, home):
    found = read_calibration(written[0].parent, written[1])
    leaked = found.model_copy(update={"designs": (*found.designs, designs_of(home, "test")[0])})
    with pytest.raises(ModelError, match="learned from 1 test designs"):
        refuse_calibrated_on_test(leaked, home)


def test_a_checkpoint_trained_on_test_designs_is_not_calibrated(settings, home, home_folder, tmp_path):
    shutil.copytree(settings.model, tmp_path, dirs_exist_ok=True)
    splits = {"trained": {"splits": ["train"], "designs": " ".join(designs_of(home, "test"))}}
    (tmp_path / "training.json").write_text(json.dumps({"splits": splits}))
    with pytest.raises(ModelError, match="has not seen the test split"):
        write_calibration(settings.model_copy(update={"model": str(tmp_path)}), home_folder)


def test_the_command_asks_for_the_set(monkeypatch, capsys, checkpoint, tmp_path):
    monkeypatch.setattr(sys, "argv", ["trainer", "calibrate", str(checkpoint), "--data", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert f"{tmp_path} does not hold the home-goods set" in capsys.readouterr().err
