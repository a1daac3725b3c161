from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from app.errors import ModelError
from trainer.data import leakage
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.leakage import check_held_out, refuse_trained_on_test, split_record, training_seed
from trainer.data.record import Item, Record
from trainer.data.splits import training_rows


@pytest.fixture(scope="module")
def rows(corpus):
    return training_rows(corpus)


def test_what_trains_and_validates_holds_no_design_of_the_test_split(corpus, rows):
    check_held_out(corpus, np.concatenate([rows.train, rows.dev]))


def test_a_record_of_the_test_split_in_training_is_refused(corpus, rows):
    with pytest.raises(ModelError, match=r"training holds designs of the test split: \['bench-t'"):
        check_held_out(corpus, np.append(rows.train, corpus.rows_of("test")))


def leaky(folder, format: str, **record) -> Corpus:
    """A training record of the model that the test split holds out, in another colour."""
    items = [Item("red", "Red chair", group="chair"), Item("blue", "Blue chair", group="chair"), Item("lamp", "Lamp")]
    with CorpusWriter(folder, {"name": "leaky", "format": format}) as writer:
        writer.add_catalog(items)
        writer.add(Record(text="words", **record))
        writer.add(Record("blue", "words", split="test"))
    return Corpus(folder)


@pytest.mark.parametrize("record", [{"positive": "red"}, {"positive": "lamp", "negative": "red"}])
def test_another_colour_of_a_test_design_is_refused_as_positive_and_as_negative(tmp_path, record):
    with pytest.raises(ModelError, match=r"\['chair'\]; correct the data's splits"):
        check_held_out(leaky(tmp_path, "home", **record), np.array([0]))


def test_sets_that_split_records_may_buy_a_product_again(tmp_path):
    check_held_out(leaky(tmp_path, "shop", positive="red"), np.array([0]))


def write_record(folder, corpus, trained, validated, **more) -> None:
    record = {"splits": split_record(corpus, trained, validated), **more}
    (folder / "training.json").write_text(json.dumps(record))


def test_a_record_of_training_names_splits_and_designs_and_passes(corpus, home, rows, tmp_path, caplog):
    write_record(tmp_path, corpus, rows.train, rows.dev)
    record = json.loads((tmp_path / "training.json").read_text())["splits"]
    assert record["trained"]["splits"] == ["train"]
    assert record["validated"]["splits"] == ["dev"]
    assert len(record["trained"]["designs"].split()) == 5
    with caplog.at_level(logging.WARNING):
        assert refuse_trained_on_test(tmp_path, home)
    assert not caplog.records


def test_a_checkpoint_trained_on_the_test_split_is_refused(corpus, home, rows, tmp_path):
    write_record(tmp_path, corpus, corpus.rows_of("test"), rows.dev)
    with pytest.raises(ModelError, match="2 of the 2 test designs"):
        refuse_trained_on_test(tmp_path, home)


def test_a_checkpoint_chosen_by_the_test_split_is_refused(corpus, home, rows, tmp_path):
    write_record(tmp_path, corpus, rows.train, corpus.rows_of("test"))
    with pytest.raises(ModelError, match="were validated on"):
        refuse_trained_on_test(tmp_path, home)


def test_a_test_design_that_was_called_a_training_design_then_is_refused(corpus, home, rows, tmp_path):
    record = split_record(corpus, rows.train, rows.dev)
    held_out = split_record(corpus, corpus.rows_of("test"), rows.dev)["trained"]["designs"].split()
    record["trained"]["designs"] += f" {held_out[0]}"
    (tmp_path / "training.json").write_text(json.dumps({"splits": record}))
    with pytest.raises(ModelError, match="1 of the 2 test designs"):
        refuse_trained_on_test(tmp_path, home)


def test_an_earlier_run_on_the_test_split_is_refused_too(corpus, home, rows, tmp_path):
    before = {"splits": split_record(corpus, corpus.rows_of("test"), rows.dev)}
    write_record(tmp_path, corpus, rows.train, rows.dev, before=before)
    with pytest.raises(ModelError, match="2 of the 2 test designs"):
        refuse_trained_on_test(tmp_path, home)


def test_a_checkpoint_without_a_record_passes_with_a_warning(home, tmp_path, caplog):
    (tmp_path / "training.json").write_text("{}")
    assert not refuse_trained_on_test(tmp_path, home)
    assert "leakage of test designs cannot be ruled out" in caplog.text


def test_of_large_sets_only_the_splits_are_kept(corpus, rows, monkeypatch):
    monkeypatch.setattr(leakage, "MAX_DESIGNS", 3)
    record = split_record(corpus, rows.train, rows.dev)
    assert record["trained"] == {"splits": ["train"], "designs": ""}
    assert record["validated"]["designs"]


def test_an_earlier_run_without_a_record_proves_nothing(corpus, home, rows, tmp_path, caplog):
    write_record(tmp_path, corpus, rows.train, rows.dev, before={"config": {}})
    assert not refuse_trained_on_test(tmp_path, home)
    assert "leakage of test designs cannot be ruled out" in caplog.text


@pytest.mark.parametrize("use", ["trained", "validated"])
def test_a_record_without_the_designs_of_one_use_proves_nothing(corpus, home, rows, tmp_path, use):
    splits = split_record(corpus, rows.train, rows.dev)
    (tmp_path / "training.json").write_text(json.dumps({"splits": {**splits, use: {**splits[use], "designs": ""}}}))
    assert not refuse_trained_on_test(tmp_path, home)
    (tmp_path / "training.json").write_text(json.dumps({"splits": {use: splits[use]}}))
    assert not refuse_trained_on_test(tmp_path, home)


def test_a_merger_is_proven_by_the_records_of_its_sources(corpus, home, rows, tmp_path):
    source = {"splits": split_record(corpus, rows.train, rows.dev)}
    (tmp_path / "training.json").write_text(json.dumps({"merged": ["a", "b"], "splits": {}, "before": source}))
    assert refuse_trained_on_test(tmp_path, home)


def test_a_test_design_as_mined_negative_is_recorded_and_refused(tmp_path, home):
    items = [Item("lamp", "Lamp"), Item("desk", "Desk", group="desk-t")]
    with CorpusWriter(tmp_path, {"name": "mined", "format": "shop"}) as writer:
        writer.add_catalog(items)
        writer.add(Record("lamp", "words", negative="desk"))
    write_record(tmp_path, Corpus(tmp_path), np.array([0]), np.array([0]))
    with pytest.raises(ModelError, match="1 of the 2 test designs"):
        refuse_trained_on_test(tmp_path, home)


def test_a_record_that_cannot_be_read_is_named(home, tmp_path):
    (tmp_path / "training.json").write_text("{torn")
    with pytest.raises(ModelError, match=r"training\.json: the record of training cannot be read"):
        refuse_trained_on_test(tmp_path, home)


def test_the_seed_of_the_last_run_is_known(tmp_path):
    assert training_seed(tmp_path) is None
    (tmp_path / "training.json").write_text(json.dumps({"config": {"seed": 3}, "before": {"config": {"seed": 1}}}))
    assert training_seed(tmp_path) == 3
