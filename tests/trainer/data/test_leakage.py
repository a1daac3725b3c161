from __future__ import annotations

import dataclasses
import json
import logging

import pytest

from app.errors import ModelError
from trainer.data.leakage import check_held_out, refuse_trained_on_test, split_record
from trainer.training.examples import TripletSampler
from trainer.training.validate import Validation


@pytest.fixture
def sampler(home):
    return TripletSampler(home, 0)


@pytest.fixture
def validation(home):
    return Validation(home)


def test_sampler_and_validation_hold_nothing_of_the_test_split(home, sampler, validation):
    check_held_out(home, sampler, validation)


def test_a_test_product_in_training_is_refused(home, sampler, validation):
    leaked = next(p for p in home.products if p.split == "test")
    sampler.products[leaked.product.id] = leaked
    with pytest.raises(ModelError, match=r"training holds the test split: designs \['bench-t'\]"):
        check_held_out(home, sampler, validation)


def test_a_photo_that_shows_a_test_design_is_refused(home, sampler, validation):
    validation.photos.append(next(p for p in home.photos if p.shows_test_model and p.split == "train"))
    with pytest.raises(ModelError, match=r"validation holds the test split: designs \[\], photos \['photos/chair"):
        check_held_out(home, sampler, validation)


def record_of(folder, sampler, validation) -> None:
    (folder / "training.json").write_text(json.dumps({"splits": split_record(sampler, validation)}))


def test_a_record_of_training_names_its_splits_and_passes(home, sampler, validation, tmp_path, caplog):
    record_of(tmp_path, sampler, validation)
    record = json.loads((tmp_path / "training.json").read_text())["splits"]
    assert record["trained"]["splits"] == ["train"]
    assert record["validated"]["splits"] == ["dev"]
    assert len(record["trained"]["designs"].split()) == 5
    with caplog.at_level(logging.WARNING):
        refuse_trained_on_test(tmp_path, home)
    assert not caplog.records


def test_a_checkpoint_trained_on_the_test_split_is_refused(home, validation, tmp_path):
    record_of(tmp_path, TripletSampler(home, 0, split="test"), validation)
    with pytest.raises(ModelError, match="2 of the 2 test designs"):
        refuse_trained_on_test(tmp_path, home)


def test_a_test_design_that_was_called_a_training_design_then_is_refused(home, sampler, validation, tmp_path):
    leaked = next(p for p in home.products if p.split == "test")
    sampler.products[leaked.product.id] = dataclasses.replace(leaked, split="train")
    record_of(tmp_path, sampler, validation)
    with pytest.raises(ModelError, match="1 of the 2 test designs"):
        refuse_trained_on_test(tmp_path, home)


def test_a_checkpoint_without_a_record_passes_with_a_warning(home, tmp_path, caplog):
    (tmp_path / "training.json").write_text("{}")
    refuse_trained_on_test(tmp_path, home)
    assert "leakage of test designs cannot be ruled out" in caplog.text


def test_an_earlier_run_on_the_test_split_is_refused_too(home, sampler, validation, tmp_path):
    before = {"splits": split_record(TripletSampler(home, 0, split="test"), validation)}
    record = {"splits": split_record(sampler, validation), "before": before}
    (tmp_path / "training.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="2 of the 2 test designs"):
        refuse_trained_on_test(tmp_path, home)
