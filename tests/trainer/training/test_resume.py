"""What an interrupted run leaves behind: whose folder it is, and which of its checkpoints are whole."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app.errors import BadInputError, ModelError
from trainer.training.resume import claimed, last_checkpoint
from trainer.training.trainer import load_safely

FILES = ("trainer_state.json", "trained.safetensors", "loss.safetensors", "optimizer.pt", "scheduler.pt")


def write_checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    for name in ("trained.safetensors", "loss.safetensors"):
        save_file({"a": torch.arange(1000.0)}, checkpoint / name)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"a": torch.arange(1000.0)}, checkpoint / name)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return checkpoint


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def blank(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def test_a_stage_without_checkpoints_has_no_last_one(tmp_path):
    assert last_checkpoint(tmp_path / "all", sharded=False) is None


def test_the_newest_checkpoint_is_told_by_its_number(tmp_path):
    for step in (9, 10, 2):
        write_checkpoint(tmp_path, step)
    assert last_checkpoint(tmp_path, sharded=False) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize("harm", [Path.unlink, cut, blank])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over_by_name(tmp_path, caplog, name, harm: Callable[[Path], None]):
    whole = write_checkpoint(tmp_path, 4)
    harm(write_checkpoint(tmp_path, 6) / name)
    assert last_checkpoint(tmp_path, sharded=False) == whole
    assert "checkpoint-6 is passed over: " in caplog.text
    assert name in caplog.text


def test_a_sharded_checkpoint_needs_no_files_of_ours_for_weights_and_optimizer(tmp_path):
    checkpoint = write_checkpoint(tmp_path, 4)
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "trained.safetensors").unlink()
    assert last_checkpoint(tmp_path, sharded=True) == checkpoint


def test_a_damaged_file_is_named_with_what_to_do(tmp_path):
    file = tmp_path / "final.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match=r"final\.safetensors cannot be read .* remove .* and start again"):
        load_safely(file)


def test_a_second_process_does_not_train_into_the_same_folder(tmp_path):
    refused = pytest.raises(BadInputError, match="another process trains there")
    with claimed(tmp_path, {"lr": 0.1}), refused, claimed(tmp_path, {"lr": 0.1}):
        pass
    with claimed(tmp_path, {"lr": 0.1}):
        pass


def test_a_run_goes_on_with_the_same_settings_only(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with claimed(tmp_path, {"lr": 0.1, "data": Path("d")}):
        pass
    with claimed(tmp_path, {"lr": 0.1, "data": Path("d")}):
        assert "goes on" in caplog.text
    with pytest.raises(BadInputError, match=r"other settings \(data, lr\)"), claimed(tmp_path, {"lr": 0.2}):
        pass


def test_a_run_that_ended_while_its_checkpoint_was_written_may_write_it_again(tmp_path):
    with claimed(tmp_path, {"lr": 0.1}):
        (tmp_path / "config.json").write_text("{}")
    with claimed(tmp_path, {"lr": 0.1}):
        pass


def test_a_finished_checkpoint_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInputError, match="holds a checkpoint already"), claimed(tmp_path, {"lr": 0.1}):
        pass
    assert not (tmp_path / "unfinished").exists()
