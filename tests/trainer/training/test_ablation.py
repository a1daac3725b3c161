"""The benchmark that trains without each part: what it runs, what it does not repeat, and its tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.errors import BadInputError
from benchmarks import ablation
from trainer.evaluation.targets import t_interval
from trainer.training.config import FitConfig

GAIN = {(): 0.5, ("core-crop",): 0.25}


class Bench:
    """Stands for training and evaluation, and writes down what was asked of them."""

    def __init__(self) -> None:
        self.trained: list[tuple[tuple[str, ...], int]] = []
        self.detectors: list[str] = []

    def fit(self, data: Path, folder: Path, config: FitConfig) -> None:
        self.trained.append((config.without, config.seed))
        folder.mkdir(parents=True)
        record = {"config": asdict(config), "dev": {"image_r1": GAIN[config.without] + 0.1 * config.seed}}
        (folder / "training.json").write_text(json.dumps(record))

    def evaluate(self, settings, data: Path, memory) -> SimpleNamespace:
        self.detectors.append(settings.detector)
        target = {
            "measure": "photo R@1",
            "value": {"value": 2 * GAIN[() if "full" in settings.model else ("core-crop",)]},
        }
        return SimpleNamespace(to_dict=lambda: {"targets": [target]})


@pytest.fixture
def bench(monkeypatch) -> Bench:
    bench = Bench()
    monkeypatch.setattr(ablation, "fit", bench.fit)
    monkeypatch.setattr(ablation, "evaluate", bench.evaluate)
    return bench


@pytest.fixture
def run(tmp_path, capsys) -> Callable[..., str]:
    def start(*options: str) -> str:
        ablation.main(["start", str(tmp_path), "--variants", "full", "core-crop", *options])
        return capsys.readouterr().out

    return start


def test_all_variants_have_their_turn_with_one_seed_before_the_next(bench, run):
    run("--seeds", "0", "1")
    assert bench.trained == [((), 0), (("core-crop",), 0), ((), 1), (("core-crop",), 1)]
    assert bench.detectors == ["auto", "none"] * 2


def test_finished_work_is_not_repeated(bench, run, tmp_path):
    first = run("--seeds", "0")
    (tmp_path / "full-0" / "evaluation.json").unlink()
    assert run("--seeds", "0") == first
    assert (len(bench.trained), len(bench.detectors)) == (2, 3)
    run("--seeds", "0", "1")
    assert bench.trained[2:] == [((), 1), (("core-crop",), 1)]


def test_a_run_of_other_settings_is_not_taken_for_this_one(bench, run):
    run("--seeds", "0")
    with pytest.raises(BadInputError, match="full-0 was trained with other settings"):
        run("--seeds", "0", "--steps", "7")


def test_tables_show_means_with_intervals_and_differences_of_pairs(bench, run):
    lines = run("--seeds", "0", "1").splitlines()
    half = t_interval([0.5, 0.6]).high - 0.55
    assert "| measure | full (2) | without core-crop (2) |" in lines
    assert f"| development: image_r1 | 0.550 ± {half:.3f} | 0.300 ± {half:.3f} |" in lines
    assert "| photo R@1 | -0.500 ± 0.000 |" in lines
    assert "| development: image_r1 | -0.250 ± 0.000 |" in lines


def test_the_table_alone_prints_what_is_there_and_trains_nothing(bench, run):
    run("--seeds", "0")
    lines = run("--seeds", "0", "1", "--table").splitlines()
    assert len(bench.trained) == 2
    assert "| photo R@1 | 1.000 | 0.500 |" in lines
    assert "| photo R@1 | -0.500 |" in lines


@pytest.mark.slow
def test_real_runs_are_trained_measured_and_compared(checkpoint, home_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "data"))
    short = ["--tower-steps", "0", "--box-steps", "1", "--looks-steps", "1", "--skip-steps", "1", "--steps", "1"]
    options = ["--data", str(home_folder), "--variants", "full", "guided-experts", "--seeds", "0", *short]
    ablation.main([str(checkpoint), str(tmp_path / "runs"), *options])
    table = capsys.readouterr().out
    assert "| measure | full (1) | without guided-experts (1) |" in table
    assert "| customer photo, true box: same model R@1 | " in table
    assert "| development: both_r10 | " in table
    config = json.loads((tmp_path / "runs" / "guided-experts-0" / "config.json").read_text())
    assert not config["moon"]["guided"]
