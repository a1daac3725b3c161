from __future__ import annotations

import csv
from pathlib import Path

import polars as pl

from trainer.augmentation.kept import Candidate, Kept
from trainer.augmentation.tables import REJECTS, REJECTS_CSV, TITLES_CSV, Tables
from trainer.data.augmented import FILE
from trainer.data.record import Item, Picture

CHAIR = Item("=1+1", "@Chair", (Picture("a.jpg"), Picture("b.jpg")))
MADE = (
    Candidate("title", 'Oak chair, "white"\n', score=0.5),
    Candidate("title", "+Vitra", score=0.25),
    Candidate("crop", "images/1.webp", 1, (1.0, 2.0, 3.0, 4.0), score=0.75),
    Candidate("scene", picture=0),
)


def written(folder: Path) -> Path:
    with Tables(folder, {b"note": "{}"}) as tables:
        tables.add([(CHAIR, Kept("source", None, MADE), ["", "'Vitra' is not in the record", "", "no room"])])
        tables.add([(Item("2", "Lamp"), Kept("other", None, (Candidate("title", "Lamp, tall", score=0.5),)), [""])])
    return folder


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def test_titles_stand_before_and_after_with_score_verdict_and_reason_and_no_cell_is_a_formula(tmp_path):
    assert rows(written(tmp_path) / TITLES_CSV) == [
        ["id", "before", "after", "score", "verdict", "reason"],
        ["'=1+1", "'@Chair", 'Oak chair, "white"\n', "0.5000", "kept", ""],
        ["'=1+1", "'@Chair", "'+Vitra", "0.2500", "rejected", "'Vitra' is not in the record"],
        ["2", "Lamp", "Lamp, tall", "0.5000", "kept", ""],
    ]


def test_the_rejected_are_listed_for_spreadsheets_and_programs(tmp_path):
    expected = [("+Vitra", 0.25, "'Vitra' is not in the record"), ("a.jpg", None, "no room")]
    found = pl.read_parquet(written(tmp_path) / REJECTS)
    assert found.select("what", "score", "reason").rows() == expected
    assert set(found["id"]) == {"=1+1"}
    assert rows(tmp_path / REJECTS_CSV) == [
        ["id", "kind", "what", "score", "reason"],
        ["'=1+1", "title", "'+Vitra", "0.2500", "'Vitra' is not in the record"],
        ["'=1+1", "scene", "a.jpg", "", "no room"],
    ]


def test_the_kept_are_written_for_training_with_where_their_pictures_lie_now(tmp_path):
    found = pl.read_parquet(written(tmp_path) / FILE)
    assert found.select("id", "title", "path", "picture", "source").rows() == [
        ("=1+1", 'Oak chair, "white"\n', None, None, "source"),
        ("=1+1", None, "images/1.webp", "b.jpg", "source"),
        ("2", "Lamp, tall", None, None, "other"),
    ]
    assert found["box"].to_list() == [None, [1.0, 2.0, 3.0, 4.0], None]
