from __future__ import annotations

import json
import os
import shutil
import threading

import polars as pl
import pytest

from app.catalog.problems import Problem, Report
from app.errors import CatalogError
from trainer.data import open as door
from trainer.data import problems as bounded
from trainer.data.open import open_corpus, read_problems
from trainer.data.problems import BoundedReport

ROW = {"id": "1", "doc_title": "Red chair", "query_title": "chair", "doc_image": "a.jpg"}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "mbe"
    folder.mkdir()
    (folder / "train.jsonl").write_text(f"{json.dumps(ROW)}\n{{broken\n")
    return folder


@pytest.fixture
def prepared(monkeypatch):
    """Counts how often a data set was prepared."""
    calls = []
    prepare = door._prepare
    monkeypatch.setattr(door, "_prepare", lambda *arguments: calls.append(arguments) or prepare(*arguments))
    return calls


def test_a_data_set_is_prepared_once(data, tmp_path, prepared):
    first, second = (open_corpus(data, cache=tmp_path / "cache") for _ in range(2))
    assert len(prepared) == 1
    assert first.folder == second.folder
    assert first.folder.name == f"mbe-{first.info['fingerprint']}"
    assert second.record(0).text == "chair"
    assert second.info | {"problems": []} == {
        **{"name": "mbe", "source": str(data), "format": "mbe", "fingerprint": first.info["fingerprint"]},
        **{"version": 1, "items": 1, "records": 1, "problems": []},
    }


def test_a_changed_file_is_prepared_again(data, tmp_path, prepared):
    open_corpus(data, cache=tmp_path / "cache")
    (data / "train.jsonl").write_text(json.dumps(ROW | {"query_title": "sofa"}))
    assert open_corpus(data, cache=tmp_path / "cache").record(0).text == "sofa"
    file = data / "train.jsonl"
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**9))
    open_corpus(data, cache=tmp_path / "cache")
    (data / "more.jsonl").write_text(json.dumps(ROW))
    assert open_corpus(data, cache=tmp_path / "cache").records == 2
    assert len(prepared) == 4


def test_other_readers_prepare_again(data, tmp_path, prepared, monkeypatch):
    open_corpus(data, cache=tmp_path / "cache")
    monkeypatch.setattr(door, "READERS", door.READERS + 1)
    open_corpus(data, cache=tmp_path / "cache")
    assert len(prepared) == 2


def test_other_weights_of_events_prepare_a_shop_again(tmp_path, prepared):
    pl.DataFrame({"id": ["1"], "title": ["chair"]}).write_csv(tmp_path / "catalog.csv")
    pl.DataFrame({"query": ["chair"], "product_id": ["1"], "event": ["click"]}).write_csv(tmp_path / "log.csv")
    for events in ({"click": 1.0}, {"click": 0.5}, {"click": 0.5}):
        corpus = open_corpus(tmp_path, cache=tmp_path / "cache", events=events)
        assert corpus.record(0).weight == events["click"]
    assert len(prepared) == 2


def test_an_interrupted_preparation_is_done_again(data, tmp_path, prepared, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(door, "write_mbe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_corpus(data, cache=tmp_path / "cache")
    assert open_corpus(data, cache=tmp_path / "cache").records == 1


def test_a_prepared_folder_without_its_description_is_made_again(data, tmp_path):
    folder = open_corpus(data, cache=tmp_path / "cache").folder
    (folder / "corpus.json").unlink()
    assert open_corpus(data, cache=tmp_path / "cache").records == 1


def test_several_that_open_at_once_prepare_once(data, tmp_path, prepared):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(open_corpus(data, cache=tmp_path / "cache").records))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, len(prepared)) == ([1] * 4, 1)


def test_what_was_left_out_is_written_beside_and_given_to_the_caller_each_time(data, tmp_path):
    for _ in range(2):
        report = Report()
        corpus = open_corpus(data, cache=tmp_path / "cache", problems=report)
        assert [(p.severity, p.row) for p in report.problems] == [("reject", 2)]
        assert report.problems[0].reason.startswith("train.jsonl: not valid JSON")
    assert pl.read_parquet(corpus.folder / "problems.parquet")["row"].to_list() == [2]
    assert read_problems(corpus).count("reject") == 1


def test_a_data_set_of_broken_rows_only_is_an_error_with_the_reasons(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps(ROW | {"query_title": ""}))
    with pytest.raises(CatalogError, match=r"(?s)no record can be made.*give the query one of them"):
        open_corpus(tmp_path, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("corpus.json"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "It holds: nothing"),
        ({"notes.txt": "x", "a.bin": "y"}, "It holds: a.bin, notes.txt"),
        ({"catalog.csv": "id,title\n1,chair\n"}, "a catalog alone needs --log"),
        ({"other.jsonl": '{"name": "x"}'}, "It holds: other.jsonl"),
    ],
)
def test_what_is_no_data_set_is_named_with_its_contents(tmp_path, files, message):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(CatalogError, match="not a data set that is known") as error:
        open_corpus(folder, cache=tmp_path / "cache")
    assert message in str(error.value)


def test_a_file_that_is_no_data_set_is_named_with_its_columns(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("name,price\nchair,3\n")
    with pytest.raises(CatalogError, match="It holds: the columns name, price"):
        open_corpus(file, cache=tmp_path / "cache")


@pytest.mark.parametrize(("format", "wanted"), [("home", "kinds.parquet"), ("shop", "a log"), ("m5", "M5Product")])
def test_data_of_another_format_than_named_are_refused(data, tmp_path, format, wanted):
    with pytest.raises(CatalogError, match=rf"not .*{wanted}.*It holds: train\.jsonl"):
        open_corpus(data, cache=tmp_path / "cache", format=format)


def test_a_missing_path_is_named(tmp_path, data):
    with pytest.raises(CatalogError, match="nowhere: there is no such file or folder"):
        open_corpus(tmp_path / "nowhere", cache=tmp_path / "cache")
    with pytest.raises(CatalogError, match=r"log\.csv: there is no such file"):
        open_corpus(data, log=tmp_path / "log.csv", cache=tmp_path / "cache")


def test_a_log_goes_with_a_shop_only(data, tmp_path):
    with pytest.raises(CatalogError, match="only a shop has a log, but the format is mbe"):
        open_corpus(data, log=data / "train.jsonl", format="mbe", cache=tmp_path / "cache")


def test_an_incomplete_home_set_names_what_it_lacks(home_folder, tmp_path):
    for name in ("catalog", "photos", "queries"):
        shutil.copy(home_folder / f"{name}.parquet", tmp_path)
    with pytest.raises(CatalogError, match=r"the home set lacks kinds\.parquet, mixed_queries\.parquet"):
        open_corpus(tmp_path, cache=tmp_path / "cache")


def problem(row: int, field: str = "time") -> Problem:
    return Problem("reject", "", row, field, f"reason {row}", "write times")


def test_a_bounded_report_counts_all_and_keeps_the_first_of_each_kind(monkeypatch, tmp_path):
    monkeypatch.setattr(bounded, "ROWS_PER_KIND", 5)
    report = BoundedReport()
    report.add(problem(row) for row in range(100))
    report.add([problem(7, "query")])
    report.write(tmp_path / "problems.parquet")
    for found in (report, BoundedReport.read(tmp_path / "problems.parquet", report.to_dicts())):
        assert found.count("reject") == 101
        assert found.count("warning") == 0
        assert len(found.problems) == 6
        assert found.summary(1) == [
            *("100 x reject, time: write times", "    row 0, no id: reason 0", "    and 99 more"),
            *("1 x reject, query: write times", "    row 7, no id: reason 7"),
        ]
