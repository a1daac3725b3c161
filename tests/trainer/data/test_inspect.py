from __future__ import annotations

import json
import sys

import pytest
from PIL import Image
from rich.console import Console

from app.errors import BadInputError
from trainer import cli
from trainer.data import inspect as room
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.inspect import inspect, unreadable_pictures
from trainer.data.inspect_report import show_contents, show_examples
from trainer.data.record import Item, Picture, Record

BOX = (0.0, 0.0, 5.0, 5.0)
CHAIR = Item(
    "1", "Red chair", (Picture("1.jpg", BOX),), ("Home", "Chairs"), {"color": ("red", "blue")}, "chair"
)  # fmt: skip
BLUE = Item(
    "2",
    "red CHAIR",
    (Picture("2.jpg"), Picture("2b.jpg", BOX)),
    ("Home",),
    {"color": ("blue",), "size": ("L",)},
    "chair",
)
BARE = Item("3", pictures=(Picture("3.jpg"),))
WORDS = Item("4", "Стул")


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    with CorpusWriter(tmp_path, {"name": "x", "source": "here", "format": "shop", "problems": []}) as writer:
        writer.add_catalog([CHAIR, BLUE, BARE, WORDS])
        writer.add(Record("1", "red chair", Picture("q.jpg", BOX), "2"))
        writer.add(Record("2", "красный", split="dev"))
        writer.add(Record("3", picture=Picture("r.jpg"), negative="3", split="test"))
        writer.add(Record("4", "赤い椅子", negative=CHAIR))
        writer.add(Record("1", "红色椅子", negative="4"))
        writer.add(Record("1", "color: red", segment="attribute"))
        writer.add(Record("1", "42"))
    return Corpus(tmp_path)


@pytest.fixture(params=[1, 50])
def contents(corpus, request, monkeypatch):
    """The same whether the files are looked at in one chunk or in many."""
    monkeypatch.setattr(room, "CHUNK_BATCHES", request.param)
    return inspect(corpus)


def test_records_are_counted_by_split_and_modality(contents):
    assert contents.records == {"train": 5, "dev": 1, "test": 1}
    assert contents.modalities["train"] == {"image": 1, "text": 5, "both": 1}
    assert contents.modalities["test"] == {"image": 1, "text": 0, "both": 0}


def test_what_is_missing_is_counted_for_queries_positives_and_negatives(contents):
    assert contents.totals == {"query": 7, "positive": 7, "negative": 4}
    assert contents.lacking == {
        "query": {"text": 1, "picture": 5, "box": 1},
        "positive": {"text": 1, "picture": 1, "box": 1, "category": 2, "attributes": 2},
        "negative": {"text": 1, "picture": 1, "box": 1, "category": 2, "attributes": 2},
    }


def test_languages_are_told_by_script(contents):
    queries = {"Latin": 1, "Cyrillic": 1, "Japanese": 1, "Chinese": 1, "no letters": 1}
    assert contents.query_languages == queries
    assert contents.title_languages == {"Latin": 3, "Cyrillic": 1}


def test_categories_attributes_and_labels_are_counted(contents):
    assert contents.depths == {0: 2, 1: 1, 2: 2}
    assert contents.attributes == {"color": 3, "size": 1}
    assert contents.segments == {"title": 6, "attribute": 1}


def test_duplicates_are_items_titles_and_groups(contents):
    found = contents.duplicates
    assert (found.products, found.repeated_items) == (4, 1)
    assert (found.same_title, found.groups, found.in_groups) == (2, 1, 2)


def test_pictures_are_opened_and_the_broken_ones_named(corpus):
    def read(location: str) -> None:
        opened.append(location)
        if location == "r.jpg":
            raise BadInputError("r.jpg: not a picture")

    opened: list[str] = []
    tried, broken = unreadable_pictures(corpus, 100, read)
    assert (tried, broken) == (len(opened), {"r.jpg": "r.jpg: not a picture"})
    assert {"q.jpg", "r.jpg", "1.jpg", "3.jpg"} <= set(opened)
    assert len(set(opened)) == len(opened)
    assert unreadable_pictures(corpus, 2, lambda location: None)[0] == 2


def test_text_of_the_data_is_shown_as_it_is(tmp_path, capsys):
    with CorpusWriter(tmp_path, {"name": "x", "source": "[red]here", "format": "mbe", "problems": []}) as writer:
        title = "[bold]x[/bold] \x1b[31m " + "long " * 200
        writer.add(Record(Item("1", title, attributes={"[key]": ("v",)}), "[/] query"))
    corpus, console = Corpus(tmp_path), Console(width=150)
    show_contents(corpus, inspect(corpus), console)
    show_examples(corpus, console)
    output = capsys.readouterr().out
    for words in ("[red]here: mbe", "[bold]x[/bold] ?[31m long", "[key]", "<|title|> [/] query", "long..."):
        assert words in output.replace("\n", " ")
    assert "\x1b" not in output


def test_examples_are_of_every_combination_of_modalities(corpus, capsys):
    show_examples(corpus, Console(width=150))
    output = capsys.readouterr().out
    assert output.count("\nRecord ") == 5
    for words in ("by image, text, both", "test, by image\n", "by text\n", "hard negative", "box 0, 0, 5, 5"):
        assert words in output


@pytest.fixture
def validate(monkeypatch, capsys, tmp_path):
    """Run `trainer validate`; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "data"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainer", "validate", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return run


def test_the_home_set_is_fine(validate, home_folder):
    code, output, _ = validate(home_folder)
    assert code == 0
    for words in (f"{home_folder}: home", "hard negatives", "Latin", "material", "0 cannot be read", "No problems"):
        assert words in output.replace("\n", " ")


ROW = {"id": "1", "doc_title": "Red chair", "doc_image": "a.png", "query_title": "chair"}


def test_rows_that_are_left_out_give_status_3_and_their_reasons(validate, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(ROW)}\n{{broken\n")
    code, output, _ = validate(tmp_path)
    assert code == 3
    for words in ("Left out: 1 rows", "1 x reject, row: correct or remove the row", "problems.parquet"):
        assert words in output


def test_pictures_that_cannot_be_read_give_status_3(validate, tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps(ROW))
    code, output, _ = validate(tmp_path)
    assert code == 3
    assert "Pictures opened: 1, of which 1 cannot be read" in output
    assert validate(tmp_path, "--pictures", 0)[0] == 0


def test_what_is_no_data_set_gives_status_1_and_one_line(validate, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    code, _, error = validate(folder)
    assert code == 1
    assert error.startswith(f"Error: {folder}: not a data set that is known")


def test_a_catalog_and_its_log_are_given_apart(validate, tmp_path):
    (tmp_path / "goods.csv").write_text("id,title\n1,Red chair\n")
    (tmp_path / "searches.csv").write_text("query,product_id\nchair,1\nsofa,9\n")
    code, output, _ = validate(tmp_path / "goods.csv", "--log", tmp_path / "searches.csv", "--format", "shop")
    assert code == 3
    assert "product '9' is not in the catalog" in output
