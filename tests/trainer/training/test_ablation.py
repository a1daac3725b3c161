"""The benchmark that trains without each part: what it runs, what it does not repeat, and its tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import ablation
import pytest
import runs

from app.errors import BadInputError
from trainer.evaluation.targets import t_interval
from trainer.training.config import FitConfig

GAIN = {(): 0.5, ("core-crop",): 0.25}
STEPS = ("tower_steps", "box_steps", "looks_steps", "skip_steps", "steps")


class Bench:
    """Stands for training and evaluation, and writes down what was asked of them."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.starts: dict[str, str] = {}
        self.steps: dict[str, list[int | None]] = {}
        self.detectors: list[str] = []

    def fit(self, data: Path, folder: Path, config: FitConfig) -> None:
        self.trained.append(folder.name)
        self.starts[folder.name] = Path(config.model).name
        self.steps[folder.name] = [getattr(config, name) for name in STEPS]
        folder.mkdir(parents=True)
        gain = GAIN.get(config.without, 0.0) + 0.1 * config.seed
        record = {"config": asdict(config), "dev": {"image_r1": gain}}
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
    monkeypatch.setattr(runs, "fit", bench.fit)
    monkeypatch.setattr(runs, "evaluate", bench.evaluate)
    return bench


@pytest.fixture
def run(tmp_path, capsys) -> Callable[..., str]:
    def start(*options: str) -> str:
        ablation.main(["start", str(tmp_path), "--variants", "full", "core-crop", *options])
        return capsys.readouterr().out

    return start


def test_all_variants_have_their_turn_with_one_seed_before_the_next(bench, run):
    run("--seeds", "0", "1")
    assert [name for name in bench.trained if "common" not in name] == [
        "full-0",
        "core-crop-0",
        "full-1",
        "core-crop-1",
    ]
    assert bench.detectors == ["auto", "none"] * 2


def test_finished_work_is_not_repeated(bench, run, tmp_path):
    first = run("--seeds", "0")
    (tmp_path / "full-0" / "evaluation.json").unlink()
    assert run("--seeds", "0") == first
    assert (len(bench.trained), len(bench.detectors)) == (4, 3)
    run("--seeds", "0", "1")
    assert bench.trained[4:] == ["common-3-1", "common-4-1", "full-1", "core-crop-1"]


def test_first_stages_that_variants_share_are_trained_once(bench, run):
    run("--seeds", "0", "--skip-steps", "5", "--variants", "full", "core-crop", "guided-experts", "extended-negatives")
    assert bench.starts == {
        "common-3-0": "start",
        "common-4-0": "common-3-0",
        "full-0": "common-4-0",
        "core-crop-0": "start",
        "guided-experts-0": "common-4-0",
        "extended-negatives-0": "common-3-0",
    }
    assert bench.steps["common-3-0"] == [None, None, None, 0, 0]
    assert bench.steps["common-4-0"] == [0, 0, 0, 5, 0]
    assert bench.steps["full-0"] == [0, 0, 0, 0, None]
    assert bench.steps["extended-negatives-0"] == [0, 0, 0, 5, None]
    assert bench.steps["core-crop-0"] == [None, None, None, 5, None]


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
    assert len(bench.trained) == 4
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
