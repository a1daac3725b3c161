"""Runs that were interrupted: whose folder it is, and from which of its files it can go on."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from app.errors import BadInputError
from trainer.training.trainer import LOSS, WEIGHTS

logger = logging.getLogger(__name__)

WORK, RUN = "unfinished", "run.json"


@contextmanager
def claimed(out: Path, run: Mapping[str, Any]) -> Iterator[None]:
    """Make ``out`` the run's own until it ends. ``run`` are the settings that must not change when it is started again.

    Raises BadInputError if a checkpoint, or a run with other settings, stands there, or another process is at it.
    """
    file = out / WORK / RUN
    if (out / "config.json").exists() and not file.exists():
        raise BadInputError(f"{out} holds a checkpoint already; choose another folder, or remove it.")
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.parent / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BadInputError(f"{out}: another process trains there; wait for it, or choose another folder.") from None
    try:
        _check_settings(file, json.loads(json.dumps(run, default=str)))
        yield
    finally:
        lock.release()


def _check_settings(file: Path, run: dict[str, Any]) -> None:
    out = file.parent.parent
    if not file.exists():
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(run, indent=2) + "\n")
        temporary.replace(file)
        return
    earlier = json.loads(file.read_text())
    changed = sorted(key for key in run.keys() | earlier.keys() if run.get(key) != earlier.get(key))
    if changed:
        raise BadInputError(
            f"{out} holds an unfinished run with other settings ({', '.join(changed)}); start it again with the same "
            "ones to go on, choose another folder, or remove this one."
        )
    logger.info("the unfinished run in %s goes on", out)


def last_checkpoint(folder: Path, *, sharded: bool) -> Path | None:
    """The newest checkpoint of a stage that is whole; a process may have ended, or a disk failed, while it was written.

    ``sharded``: whether FSDP wrote weights and optimizer, whose parts are left to its own check. None without any.
    """
    found = {int(path.name.rpartition("-")[2]): path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-[0-9]*")}
    for step in sorted(found, reverse=True):
        if not (damage := _damage(found[step], sharded)):
            return found[step]
        logger.warning("%s is passed over: %s", found[step], damage)
    return None


def _damage(checkpoint: Path, sharded: bool) -> str:
    """What is wrong with a checkpoint; nothing if it is whole. The trainer's state is what is written last."""
    needed = [TRAINER_STATE_NAME, SCHEDULER_NAME, LOSS, *([] if sharded else [OPTIMIZER_NAME, WEIGHTS])]
    if missing := [name for name in needed if not (checkpoint / name).is_file()]:
        return f"it lacks {', '.join(missing)}"
    for file in checkpoint.iterdir():
        try:
            if file.suffix == ".json":
                json.loads(file.read_text())
            elif file.suffix == ".safetensors":
                with safe_open(file, framework="pt"):
                    pass
        except (ValueError, SafetensorError) as error:
            return f"{file.name} is damaged ({error})"
        if file.suffix in (".pt", ".pth") and not zipfile.is_zipfile(file):
            return f"{file.name} is damaged"
    return ""
