from __future__ import annotations

import shutil
import sys

import pytest
from PIL import Image

from trainer import cli
from trainer.data.boxes import BoxCache
from trainer.data.mine import MinedNegatives
from trainer.data.open import open_corpus


@pytest.fixture
def trainer(monkeypatch, capsys, tmp_path):
    """Run a command; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "moon"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainer", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def home_copy(home_folder, tmp_path):
    """The home set with one picture that is no packshot and one that is gone."""
    folder = tmp_path / "home"
    shutil.copytree(home_folder, folder)
    scene, gone = sorted((folder / "images").iterdir())[:2]
    Image.new("RGB", (90, 60), "grey").save(scene)
    gone.unlink()
    return folder


def words(output: str) -> str:
    return " ".join(output.split())


def test_detect_writes_boxes_says_what_it_found_and_goes_on(trainer, home_copy, checkpoint, tmp_path):
    out = tmp_path / "boxes"
    command = ("detect", home_copy, out, "--model", checkpoint, "--detector", "learned")
    code, output, _ = trainer(*command)
    assert code == 0
    for part in ("box of the data 30", "plain ground, shown whole 30", "unreadable 1", "31 looked at, 0 of them"):
        assert part in words(output)
    assert "the picture cannot be read" in output
    assert output.endswith(f"Wrote {out}.\n")
    assert len(BoxCache.open(out)) == 31
    assert "31 looked at, 31 of them by earlier runs" in trainer(*command)[1]

    code, _, error = trainer(*command[:-1], "saliency")
    assert code == 1
    assert "choose another folder" in error


def test_mine_writes_negatives_of_training_designs(trainer, home_folder, checkpoint, tmp_path):
    out = tmp_path / "mined.parquet"
    code, output, _ = trainer("mine", home_folder, checkpoint, out, "--relative-margin", "0.01", "--negatives", "2")
    assert code == 0
    for part in ("with mined negatives", "negatives among 10 products; mean score", f"Wrote {out}."):
        assert part in words(output)
    corpus = open_corpus(home_folder, cache=tmp_path / "moon" / "trainer")
    mined = MinedNegatives.open(out, corpus)
    named = {row for record in range(corpus.records) for row in mined.for_record(record)}
    trained = {corpus.item(corpus.record(row).positive).group for row in corpus.rows_of("train")}
    assert {corpus.item(row).group for row in named} <= trained
    assert 0 < max(len(mined.for_record(row)) for row in range(corpus.records)) <= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine", "DATA", "nowhere/at/all", "OUT"), "nowhere/at/all: no such folder"),
        (("mine", "DATA", "MODEL", "OUT", "--top-k", "5", "--range-min", "5"), "--range-min 5 leaves nothing"),
        (("mine", "DATA", "MODEL", "OUT", "--boxes", "BOXES"), "make them with `trainer detect`"),
        (("mine", "missing.jsonl", "MODEL", "OUT"), "missing.jsonl: there is no such file"),
        (("mine", "DATA", "MODEL", "BLOCKED"), "check that it can be written"),
        (("detect", "DATA", "BLOCKED", "--model", "MODEL"), "check that it can be written"),
        (("detect", "missing.jsonl", "OUT", "--model", "MODEL"), "missing.jsonl: there is no such file"),
    ],
)
def test_what_cannot_be_used_is_one_line(trainer, home_folder, checkpoint, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    places = {"DATA": home_folder, "MODEL": checkpoint, "OUT": tmp_path / "out", "BOXES": tmp_path / "none"}
    places["BLOCKED"] = tmp_path / "file" / "out"
    code, _, error = trainer(*(places.get(word, word) for word in arguments))
    assert code == 1
    assert error.splitlines()[-1].startswith("Error: ")
    assert message in error.splitlines()[-1]


def test_detect_needs_a_detector(trainer, home_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("MOON_DETECTOR", "none")
    code, _, error = trainer("detect", home_folder, tmp_path / "out")
    assert (code, error) == (
        1,
        "Error: MOON_DETECTOR is none, which finds no boxes; choose a detector with --detector\n",
    )


@pytest.mark.parametrize("command", ["detect", "mine"])
def test_help_explains_arguments_and_options(trainer, command):
    code, output, _ = trainer(command, "--help")
    assert code == 0
    for part in ("DATA <path>", "OUT <path>", "for `trainer fit --"):
        assert part in words(output)
