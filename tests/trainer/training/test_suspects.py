"""The list of rejected samples: what it holds, as a table, as CSV and as a part of the report."""

from __future__ import annotations

import re

import polars as pl
import pytest
import torch
from PIL import Image

from app.errors import BadInputError
from trainer.training.suspects import LISTED, SCHEMA, passes, rejected, suspects, write_suspects
from trainer.training.suspects_page import PASSES, SHOWN, suspects_section

HOSTILE = "</td><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)> &amp;"


def samples(*rows: tuple[int, int, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def table(**columns: list) -> pl.DataFrame:
    rows = max(map(len, columns.values()))
    empty = {name: [""] * rows if kind == pl.String else [1] * rows for name, kind in SCHEMA.items()}
    return pl.DataFrame({**empty, **columns}, schema=SCHEMA)


def test_records_are_ranked_by_their_mean_and_named_with_the_negative_of_their_worst_sample():
    found = rejected(
        samples((4, 1, 0.5), (7, 2, 0.1), (7, 3, 0.3), (5, 1, 0.9), (4, 6, 0.4), (8, 1, 0.1), (8, 1, 0.9999))
    )
    assert found["samples"] == 7
    assert found["kept"] == pytest.approx(2 / 7)
    assert [entry["record"] for entry in found["rejected"]] == [7, 4, 8]
    assert found["rejected"][0] == {"record": 7, "negative": 2, "phi": 0.2, "samples": 2}


def test_the_list_is_bounded():
    found = rejected(samples(*((row, 0, 0.1) for row in range(LISTED + 50))))
    assert [entry["record"] for entry in found["rejected"]] == list(range(LISTED))


def test_the_table_has_texts_titles_and_pictures_of_the_corpus(corpus):
    text = next(row for row in range(corpus.records) if corpus.record(row).picture is None)
    photo = next(row for row in range(corpus.records) if corpus.record(row).picture is not None)
    events = [{"loss": 1.0}, {"filtering": rejected(samples((text, 3, 0.1), (photo, 5, 0.2)))}]
    found = suspects([*events, {"filtering": rejected(samples((photo, 4, 0.3)))}], corpus)
    assert found["pass"].to_list() == [1, 1, 2]
    assert found["record"].to_list() == [text, photo, photo]
    assert found["query"][0] == corpus.record(text).text
    assert found["query_image"].to_list()[:2] == ["", corpus.record(photo).picture.location]
    positive, negative = corpus.item(corpus.record(text).positive), corpus.item(3)
    assert found.row(0, named=True)["positive_title"] == positive.title
    assert found.row(0, named=True)["positive_image"] == positive.pictures[0].location
    assert (found["negative_id"][0], found["negative_title"][0]) == (negative.id, negative.title)


def test_a_negative_that_was_not_kept_is_empty_and_the_rest_of_the_row_stays(corpus):
    events = [{"filtering": rejected(samples((2, -1, 0.1)))}]
    found = suspects(events, corpus)
    row = found.row(0, named=True)
    assert [row[f"negative_{part}"] for part in ("id", "title", "image")] == ["", "", ""]
    assert row["positive_id"] == corpus.item(corpus.record(2).positive).id
    page = "".join(suspects_section(passes(events), found, lambda location: Image.new("RGB", (8, 8))))
    assert row["positive_id"] in page


def test_both_files_hold_the_table_and_no_cell_of_the_csv_is_a_formula(tmp_path):
    rows = table(query=["=1+1", " @x", 'a, "b"\nc', "ü"], phi=[0.1, 0.2, 0.3, 0.4])
    write_suspects(rows, tmp_path)
    assert pl.read_parquet(tmp_path / "suspects.parquet").equals(rows)
    csv = pl.read_csv(tmp_path / "suspects.csv")
    assert csv["query"].to_list() == ["'=1+1", "' @x", 'a, "b"\nc', "ü"]
    assert csv["phi"].to_list() == [0.1, 0.2, 0.3, 0.4]


def found_by(count: int) -> list[dict]:
    return passes([{"filtering": {"samples": 1200, "kept": 0.75, "rejected": []}}] * count)


def test_the_section_shows_the_most_rejected_of_a_pass_with_their_pictures():
    rows = table(
        phi=[n / 100 for n in range(SHOWN + 5)],
        query=[f"query {n}." for n in range(SHOWN + 5)],
        query_image=["a.png"] * (SHOWN + 5),
    )
    text = "".join(suspects_section(found_by(1), rows, lambda location: Image.new("RGB", (400, 200))))
    assert "75.0% of 1,200 samples" in text
    assert text.count("data:image/webp;base64,") == SHOWN
    assert f"query {SHOWN - 1}." in text
    assert f"query {SHOWN}." not in text


def test_hostile_text_stays_text_and_a_picture_that_is_gone_is_named():
    def gone(location: str) -> Image.Image:
        raise BadInputError(f"{location}: gone")

    rows = table(query=[HOSTILE], positive_title=[HOSTILE], negative_id=[HOSTILE], negative_image=[HOSTILE])
    text = "".join(suspects_section(found_by(1), rows, gone))
    assert "<script" not in text
    assert "<img" not in text
    assert "picture cannot be read" in text


def numbers_shown(count: int) -> tuple[list[int], str]:
    text = "".join(suspects_section(found_by(count), table(query=[]), lambda location: Image.new("RGB", (1, 1))))
    return [int(number) for number in re.findall(r"<h3>Pass (\d+):", text)], text


def test_a_pass_without_rejected_records_says_so():
    assert numbers_shown(PASSES)[1].count("No record was rejected") == PASSES


def test_of_many_passes_the_first_and_the_last_are_shown_and_the_gap_is_named():
    assert numbers_shown(PASSES)[0] == [*range(1, PASSES + 1)]
    shown, text = numbers_shown(PASSES + 3)
    assert shown == [1, *range(5, PASSES + 4)]
    assert "3 passes after the first are left out here" in text[text.index("Pass 1:") : text.index("Pass 5:")]
    assert "left out here" not in numbers_shown(PASSES)[1]
