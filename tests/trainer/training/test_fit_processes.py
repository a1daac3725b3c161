"""Runs of several processes, as `torchrun` and `accelerate launch` start them, on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

from trainer.training.config import FitConfig
from trainer.training.fit import fit

ROOT = Path(__file__).parents[3]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]


def launch(*arguments: str) -> str:
    """Run a program in two processes; returns what they printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [*LAUNCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def losses(folder: Path) -> list[dict]:
    lines = (folder / "training.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if "loss" in entry]


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [{}, {"views": "joint", "intra": 1.0}, {"views": "joint", "objective_weights": "balanced", "filtering": True}],
    ids=["mixture", "joint", "weighed"],
)
def test_two_processes_take_the_steps_of_one_with_the_joined_batch(home_folder, checkpoint, tmp_path, more):
    wishes = {
        "model": str(checkpoint),
        "box_steps": 0,
        "tower_steps": 0,
        "looks_steps": 0,
        "skip_steps": 0,
        "steps": 4,
        "validate_every": 4,
        **more,
    }
    wishes["past_batches"] = 2
    options = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in {**wishes, "batch": 3}.items()
    ]
    output = launch("-m", "trainer", "fit", str(tmp_path / "two"), f"--data={home_folder}", *options)
    assert output.count(f"Wrote {tmp_path / 'two'}") == 1
    fit(home_folder, tmp_path / "one", FitConfig(**wishes, batch=6))
    together, alone = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(together) == 4
    for ours, theirs in zip(together, alone, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
        assert ours["temperature"] == pytest.approx(theirs["temperature"], rel=1e-3)
        for row, alike in zip(ours.get("expert_objectives", []), theirs.get("expert_objectives", []), strict=True):
            assert row == pytest.approx(alike, rel=1e-3)
    suspects = [(tmp_path / name / "suspects.csv").read_text() for name in ("two", "one") if "filtering" in more]
    assert len({text.count("\n") for text in suspects}) == bool(suspects)
    counts = [entry["negatives"] + entry["masked"] for entry in together]
    assert counts == pytest.approx([2 * 2 * 3 * (past + 1) - 1 for past in (0, 1, 2, 2)], abs=1e-3)


@pytest.mark.slow
def test_sharded_decoder_layers_get_the_gradients_of_whole_ones(checkpoint):
    output = launch(str(Path(__file__).with_name("sharded_step.py")), str(checkpoint))
    assert "gradients agree" in output


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_example_configurations_are_understood_by_accelerate(name):
    config = load_config_from_file(str(ROOT / "examples" / "accelerate" / f"{name}.yaml"))
    assert config.num_processes == 8
    assert config.distributed_type == {"ddp": "MULTI_GPU", "fsdp": "FSDP"}[name]


def test_the_example_of_sharding_names_a_decoder_layer_that_exists():
    config = load_config_from_file(str(ROOT / "examples" / "accelerate" / "fsdp.yaml"))
    assert hasattr(modeling_qwen2_5_vl, config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"])
