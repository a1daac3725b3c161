from __future__ import annotations

import json
import sys

import pytest

from trainer import cli
from trainer.commands import evaluation as command
from trainer.data.leakage import split_record
from trainer.data.splits import training_rows


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """``trainer evaluate --preset home`` with more arguments; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "data"))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainer", "evaluate", *arguments, "--preset", "home"])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return call


@pytest.fixture
def trained(checkpoint, tmp_path):
    """The checkpoint under a name of its own, with a record of training."""

    def make(name: str, **record) -> str:
        folder = tmp_path / name
        folder.mkdir()
        for file in checkpoint.iterdir():
            (folder / file.name).symlink_to(file)
        (folder / "training.json").write_text(json.dumps(record))
        return str(folder)

    return make


def test_two_checkpoints_stand_in_one_table_of_targets(run, trained, corpus, home_folder, tmp_path):
    rows = training_rows(corpus)
    splits = split_record(corpus, rows.train, rows.dev)
    names = [trained(f"seed-{seed}", config={"seed": seed}, splits=splits) for seed in (5, 6)]
    numbers, page = tmp_path / "numbers.json", tmp_path / "page.html"
    code, output, _ = run(*names, "--data", str(home_folder), "--json", str(numbers), "--html", str(page))
    assert code == 0
    assert output.index("mean of 2 checkpoints") < output.index("Targets on held-out designs")
    assert output.index("Targets on held-out designs") < output.index("core product: ")
    assert "Retrieval of whole products" not in output
    for words in ("Seed of training: 5", "Seed of training: 6", "names no design of the test split", "MISSED"):
        assert words in " ".join(output.split())
    found = json.loads(numbers.read_text())
    assert found["home"].keys() == set(names)
    assert [len(spread["values"]) for spread in found["spreads"]] == [2] * len(found["home"][names[0]]["targets"])
    assert page.read_text().count("customer photo, true box: exact SKU R@1") == 3
    wrong = [found["home"][name]["wrong_photos"] for name in names]
    sheets = [tmp_path / f"{number}-wrong-photos.webp" for number in (1, 2)]
    assert [bool(photos) for photos in wrong] == [sheet.is_file() for sheet in sheets] == [True, True]
    assert all(photo["found_id"] != photo["product_id"] for photo in wrong[0])


def test_a_checkpoint_that_knows_test_designs_is_refused_before_any_is_measured(run, trained, corpus, home_folder):
    rows = training_rows(corpus)
    splits = split_record(corpus, rows.train, rows.dev)
    leaked = split_record(corpus, corpus.rows_of("test"), rows.dev)
    names = [trained("clean", splits=splits), trained("leaked", splits=leaked)]
    code, output, error = run(*names, "--data", str(home_folder))
    assert (code, output) == (1, "")
    assert error.startswith(f"Error: {names[1]}: training.json says that ['test'] were trained on")


@pytest.mark.parametrize("option", [["--split", "dev"], ["--limit", "3"], ["--format", "home"], ["--log", "log.csv"]])
def test_options_that_the_preset_has_decided_are_refused(run, option):
    code, _, error = run(*option)
    assert code == 1
    assert "it takes --data alone" in error


def test_without_a_checkout_the_set_is_asked_for(run, checkpoint, tmp_path):
    code, _, error = run(str(checkpoint), "--data", str(tmp_path))
    assert (code, error) == (
        1,
        f"Error: {tmp_path} does not hold the home-goods set, which is the folder demo/ of a checkout; "
        "name it with --data.\n",
    )


def test_a_checkout_has_the_set():
    assert (command.DEMO / "catalog.parquet").is_file()


def test_models_other_than_moon_are_refused(run, tmp_path, home_folder):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    code, _, error = run(str(tmp_path), "--data", str(home_folder))
    assert code == 1
    assert "is a CLIP model and --preset home measures MOON checkpoints" in error
