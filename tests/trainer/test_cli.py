from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors import SafetensorError

from app.moon.load import load_module
from trainer import cli
from trainer.commands import options, training
from trainer.training.config import FitConfig

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture
def trainer(monkeypatch, capsys):
    """Run a command; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainer", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return run


def test_the_command_starts_without_loading_a_model_library():
    program = "import sys, trainer.cli; assert not {'torch', 'transformers', 'polars', 'bm25s'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("command", ["", "upcycle", "words", "starter", "merge", "evaluate", "calibrate"])
def test_help_is_as_documented(trainer, command):
    code, output, _ = trainer(*command.split(), "--help")
    assert code == 0
    file = SNAPSHOTS / f"help{'-' if command else ''}{command}.txt"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(output)
        pytest.fail(f"{file} was missing and has been written; look at it and commit it")
    assert output == file.read_text()


def test_fit_offers_every_field_of_its_configuration_with_its_default():
    offered = inspect.signature(training.fit).parameters
    defaults = {field.name: field.default for field in dataclasses.fields(FitConfig)}
    assert {name: offered[name].default for name in defaults} == defaults
    assert offered.keys() - defaults.keys() == {"out", "data", "format_", "log", "images", "event"}


def test_help_of_fit_explains_every_option(trainer):
    code, output, _ = trainer("fit", "--help")
    assert code == 0
    for field in dataclasses.fields(FitConfig):
        assert re.search(rf"--{field.name.replace('_', '-')}\b", output), field.name


def test_fit_hands_its_options_on_by_name(trainer, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(
        "trainer.training.fit.fit", lambda *own, **more: calls.append((*own, more)) or {"image_r1": 0.5}
    )
    wished = FitConfig(
        **{"preset": "qwen3-vl-2b", "model": "base", "steps": 1, "skip_steps": 2, "box_steps": 3, "epochs": 0.5},
        **{"looks_steps": 4, "tower_steps": 5, "without": ("core-crop", "field-dropout")},
        **{"batch": 4, "mini_batch": 2, "lr": 0.1, "lora_rank": 8, "train_tower": True, "precision": "bf16"},
        **{"gradient_checkpointing": True, "objective": "circle", "past_batches": 1, "spatial": False},
        **{"mixture": "1:1:1", "sibling_share": 0.2, "mined": Path("m"), "boxes": Path("b"), "dims": "8,4"},
        **{"views": "joint", "intra": 0.5},
        **{"validate_every": 7, "workers": 3, "feature_cache": False, "track": "none", "seed": 9},
    )
    options = [option for name, value in dataclasses.asdict(wished).items() for option in as_option(name, value)]
    code, output, _ = trainer(
        "fit", str(tmp_path), "--data", "d", "--log", "l", "--format", "shop", "--event=click=2", *options
    )
    assert code == 0
    assert "image_r1 0.500" in output
    events = {"purchase": 1.0, "add_to_cart": 0.5, "click": 2.0}
    source = {"format": "shop", "log": Path("l"), "images": None, "events": events}
    assert calls == [(Path("d"), tmp_path, wished, source)]
    assert all(value != getattr(FitConfig(), name) for name, value in dataclasses.asdict(wished).items())


def as_option(name: str, value: object) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [part for one in (value if isinstance(value, tuple) else [value]) for part in (flag, str(one))]


@pytest.mark.parametrize("event", ["click", "click=", "=1", "click=-1", "click=nan", "click=inf"])
def test_an_event_without_a_weight_is_refused(trainer, tmp_path, event):
    code, _, error = trainer("validate", str(tmp_path), "--event", event)
    assert (code, error) == (
        1,
        f"Error: --event {event!r}: write a name and a positive weight, for example purchase=1.\n",
    )


def test_a_loss_that_is_no_number_is_one_line(trainer, monkeypatch, tmp_path):
    def diverge(*arguments, **options):
        raise FloatingPointError("the loss is nan at step 3; lower the learning rate")

    monkeypatch.setattr("trainer.training.fit.fit", diverge)
    code, _, error = trainer("fit", str(tmp_path))
    assert (code, error) == (1, "Error: the loss is nan at step 3; lower the learning rate\n")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "out/work"),
        SafetensorError("Error while serializing: No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 46 vs 45"),
    ],
)
def test_a_full_disk_is_one_line_however_it_is_said(trainer, monkeypatch, tmp_path, error):
    def fill(*arguments, **options):
        raise error

    monkeypatch.setattr("trainer.training.fit.fit", fill)
    code, _, told = trainer("fit", str(tmp_path))
    assert code == 1
    assert re.fullmatch(f"Error: {tmp_path}, or the folder MOON_DATA, cannot be written .* the run goes on .*\n", told)


def test_other_errors_of_a_run_are_not_taken_for_a_full_disk(trainer, monkeypatch, tmp_path):
    def fail(*arguments, **options):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("trainer.training.fit.fit", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        cli.cli(["fit", str(tmp_path)])


def test_a_file_that_stands_where_a_folder_is_to_be_is_one_line(trainer, base_folder, tmp_path):
    file = tmp_path / "out"
    file.write_text("")
    code, _, error = trainer("upcycle", str(base_folder), str(file), "--expert-rank", "2")
    assert code == 1
    assert error.endswith(f"\nError: {file}: File exists; check that it can be written and has room\n")


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_evaluation_asks_for_the_folder_of_its_files_before_it_measures(trainer, tmp_path, option):
    code, _, error = trainer("evaluate", "nothing", option, str(tmp_path / "gone" / "file"))
    assert (code, error) == (1, f"Error: {tmp_path / 'gone'}: there is no such folder for file; make it first\n")


def test_a_preset_that_does_not_exist_is_refused_with_those_that_do(trainer, tmp_path):
    code, _, error = trainer("fit", str(tmp_path), "--preset", "qwen9")
    assert code == 2
    assert "'qwen3-vl-embedding-2b'" in error


@pytest.mark.parametrize(
    ("option", "least"),
    [("batch", 1), ("mini-batch", 1), ("validate-every", 1)]
    + [(name, 0) for name in ("steps", "lr", "lora-rank", "past-batches", "workers", "seed")],
)
def test_a_number_that_makes_no_sense_is_refused(trainer, tmp_path, option, least):
    code, _, error = trainer("fit", str(tmp_path), f"--{option}", str(least - 1))
    assert code == 2
    assert f"'--{option}': Input should be greater than or equal to {least}" in error


def test_upcycle_writes_a_checkpoint_with_the_experts_asked_for(trainer, base_folder, tmp_path):
    out = tmp_path / "moon"
    code, output, _ = trainer("upcycle", str(base_folder), str(out), "--experts", "5", "--expert-rank", "2")
    assert (code, output) == (0, f"Wrote {out}.\n")
    module = load_module(str(out), torch.float32)
    assert (module.moon.experts, module.moon.expert_rank, module.moon.pooling) == (5, 2, "mean")


def test_upcycling_what_is_no_image_text_model_is_one_line(trainer, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2}')
    code, _, error = trainer("upcycle", str(tmp_path), str(tmp_path / "out"))
    assert code == 1
    assert error.splitlines()[-1].startswith(f"Error: {tmp_path} cannot be upcycled: ")


def test_upcycling_with_too_few_experts_is_one_line(trainer, tmp_path):
    code, _, error = trainer("upcycle", "base", str(tmp_path), "--experts", "2")
    assert (code, error) == (1, "Error: experts=2: at least 3 are needed, two of them are reserved\n")


def test_starter_asks_for_the_words_that_are_missing(trainer, tmp_path):
    code, _, error = trainer("starter", str(tmp_path), str(tmp_path / "out"), "--words", str(tmp_path))
    assert (code, error) == (1, f"Error: no tokenizer.json in {tmp_path}; make it with `trainer words`.\n")


def test_words_names_the_package_that_is_missing_with_its_download(trainer, tmp_path):
    code, _, error = trainer("words", str(tmp_path), str(tmp_path / "out"))
    message = f"no wordnet-base_*.deb in {tmp_path}; run there: apt-get download wordnet-base"
    assert (code, error) == (1, f"Error: {message}\n")


def test_merge_hands_its_options_on(trainer, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("trainer.checkpoints.merge.merge", lambda *arguments: calls.append(arguments))
    options = ["--method", "ties", "--weight", "2", "--weight", "1", "--base", "c", "--density", "0.2", "--seed", "3"]
    code, output, _ = trainer("merge", "a", "b", str(tmp_path), *options)
    assert (code, output) == (0, f"Wrote {tmp_path}.\n")
    assert calls == [(["a", "b"], tmp_path, "ties", [2.0, 1.0], "c", 0.2, 3)]


def test_a_merger_without_its_base_is_one_line(trainer, tmp_path):
    code, _, error = trainer("merge", "a", "b", str(tmp_path), "--method", "ties")
    message = "ties merges changes against a base; name the checkpoint that training started from."
    assert (code, error) == (1, f"Error: {message}\n")


@pytest.mark.slow
def test_evaluate_measures_a_checkpoint_and_writes_numbers_and_a_page(
    trainer, home_folder, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "data"))
    numbers, page = tmp_path / "numbers.json", tmp_path / "page.html"
    code, output, _ = trainer(
        *("evaluate", str(checkpoint), "--data", str(home_folder), "--seed", "2", "--limit", "12"),
        *("--json", str(numbers), "--html", str(page)),
    )
    assert code == 0
    for words in (
        "Retrieval of whole products",
        "R@10, duplicates count",
        "12 queries, 16 products",
        "category to level 4",
    ):
        assert words in output
    for words in ("customer photo", "raw vision", "BM25", "centre box", "seed 2", "Targets on held-out designs"):
        assert words in output
    found = json.loads(numbers.read_text())
    assert found["setup"]["data"]["format"] == "home"
    assert found["models"][0]["family"] == "MOON"
    assert len(found["models"][0]["version"]) == 20
    assert found["home"][str(checkpoint)]["targets"][0]["wanted"] == 0.8
    assert page.read_text().count("<img ") == 4


def test_evaluate_names_data_without_queries_in_the_split(trainer, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "data"))
    row = {"id": "1", "doc_title": "red chair", "query_title": "chair"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    code, _, error = trainer("evaluate", str(checkpoint), "--data", str(tmp_path / "train.jsonl"))
    assert (code, error) == (
        1,
        "Error: train has no queries in the split 'test'; choose another with --split.\n",
    )


def test_evaluate_reports_a_model_that_is_not_there_in_one_line(trainer, home_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "data"))
    missing = str(tmp_path / "nowhere")
    code, _, error = trainer("evaluate", missing, "--data", str(home_folder))
    assert code == 1
    assert error.startswith(f"Error: {missing}: no such folder; name a model folder or a Hub id")
    assert error.count("\n") == 1


def test_evaluate_offers_the_formats_that_can_be_read():
    from trainer.data.detect import Format

    assert get_args(get_args(options.Format)[0]) == get_args(Format)


def test_a_setting_that_cannot_be_read_is_one_line(trainer, monkeypatch):
    monkeypatch.setenv("MOON_BATCH_SIZE", "many")
    code, _, error = trainer("evaluate")
    assert code == 1
    assert error.startswith("Error: MOON_BATCH_SIZE is 'many': ")
