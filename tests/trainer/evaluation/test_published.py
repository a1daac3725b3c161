from __future__ import annotations

import pytest

from trainer.evaluation.published import TABLES, published


@pytest.mark.parametrize("table", [table for tables in TABLES.values() for table in tables], ids=lambda t: t.title)
def test_published_tables_are_complete_per_cents_with_a_source(table):
    assert "arXiv" in table.source
    assert any(model.startswith("MOON") for model in table.rows)
    for values in table.rows.values():
        assert len(values) == len(table.columns)
        assert all(0 <= value <= 100 for value in values)


def test_published_recall_grows_with_k():
    for table in (tables[0] for tables in TABLES.values()):
        for values in table.rows.values():
            for start in (0, 3, 6):
                assert list(values[start : start + 3]) == sorted(values[start : start + 3])


def test_only_data_that_the_papers_know_have_published_numbers():
    assert published("m5")[0].title == "M5Product retrieval"
    assert published("mbe")[0].rows["MOON"][:3] == (26.71, 83.66, 96.28)
    assert published("mbe")[-1].rows["MOON2.0"][:3] == (63.09, 91.08, 94.21)
    assert published("home") == published("shop") == []
