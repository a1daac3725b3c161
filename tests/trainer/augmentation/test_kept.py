from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from app.errors import CatalogError
from trainer.augmentation.kept import FILE, Candidate, Kept, KeptProducts

VECTOR = np.array([0.5, 1.0], dtype=np.float16)
MADE = (
    Candidate("title", "Oak chair, white", vector=VECTOR, score=0.5, category_score=0.25),
    Candidate("scene", "images/1.webp", 1, (1.0, 2.0, 3.0, 4.0), ("room.jpg", "1a2b"), vector=VECTOR, score=0.75),
    Candidate("crop", picture=0, reason="no box"),
)


def test_products_are_kept_as_they_were_added(tmp_path):
    with KeptProducts(tmp_path) as kept:
        kept.add([Kept("a", VECTOR, MADE), Kept("b", None, ())])
    with KeptProducts(tmp_path) as kept:
        assert kept.unknown(["c", "a", "c", "b"]) == ["c"]
        assert kept.product("b") == Kept("b", None, ())
        found = kept.product("a").candidates
    told = [(one.kind, one.what, one.picture, one.box, one.room, one.reason, one.score) for one in found]
    assert told == [(one.kind, one.what, one.picture, one.box, one.room, one.reason, one.score) for one in MADE]
    assert found[0].vector is not None
    assert found[0].vector.tolist() == VECTOR.tolist()


def test_a_file_of_another_version_is_refused_and_left_as_it_is(tmp_path):
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("CREATE TABLE candidates (source TEXT, picture TEXT)")
        database.execute("INSERT INTO candidates VALUES ('a', 'a.jpg')")
    with pytest.raises(CatalogError, match="another version of the trainer; remove it, and what it kept is made again"):
        KeptProducts(tmp_path).__enter__()
    with sqlite3.connect(tmp_path / FILE) as database:
        assert database.execute("SELECT picture FROM candidates").fetchall() == [("a.jpg",)]


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(CatalogError, match="not a database; remove it"):
        KeptProducts(tmp_path).__enter__()
