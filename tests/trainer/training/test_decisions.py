"""The benchmark of variants of the language model: what it builds, what it does not repeat, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import decisions
from trainer.training.config import FitConfig


class Bench:
    """Stands for training, and writes down what was asked of it."""

    def __init__(self) -> None:
        self.trained: list[str] = []

    def fit(self, data: Path, folder: Path, config: FitConfig) -> None:
        self.trained.append(folder.name)
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps({"dev": {"image_r1": 0.25}}))
        entries = [{"loss": 3.0}, {"loss": 1.0}, {"eval_runtime": 4.0}, {"train_runtime": 10.0, "step": 2}]
        (folder / "training.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.fixture
def bench(monkeypatch, tmp_path) -> Bench:
    bench = Bench()
    monkeypatch.setattr(decisions, "fit", bench.fit)
    monkeypatch.setattr(decisions, "load_module", lambda *_: None)
    monkeypatch.setattr(decisions, "build", lambda *_: None)
    monkeypatch.setattr(decisions, "save_moon", lambda module, folder: folder.mkdir(parents=True))
    return bench


def test_variants_are_trained_once_and_stand_in_the_table(bench, tmp_path, capsys):
    arguments = ["weights", "trained", str(tmp_path), "--variants", "taken", "causal"]
    decisions.main(arguments)
    decisions.main(arguments)
    assert bench.trained == ["taken", "causal"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| variant | image_r1 | loss | s/step |"
    assert lines[-1] == "| causal attention | 0.250 | 2.000 | 3.000 |"


def test_changes_touch_layers_or_projector_and_nothing_else(checkpoint):
    from app.moon.load import load_module

    for change, part in ((decisions._untrained_language, ".layers."), (decisions._untrained_projector, "projector")):
        module = load_module(str(checkpoint), torch.float32)
        before = {name: value.clone() for name, value in module.model.state_dict().items()}
        change(module)
        changed = {name for name, value in module.model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed
        assert all(part in name for name in changed)
