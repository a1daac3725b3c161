"""The home-goods evaluation: MOON and its baselines on held-out designs, in one run, through the product's own path."""

from __future__ import annotations

import logging
import os
import platform
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from app.calibration import UNCALIBRATED, read_calibration
from app.errors import BadInputError
from app.moon.embedder import load_encoder
from app.moon.fingerprint import checkpoint_folder
from app.moon.tower import EfficientNetLiteModel
from app.moon.tower_memory import TowerMemory, remembering
from app.settings import Settings
from trainer.data.home import HomeSet
from trainer.data.leakage import refuse_calibrated_on_test, refuse_trained_on_test, training_seed
from trainer.evaluation.baselines import RawVision
from trainer.evaluation.classify import prediction_rows
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.matches import match_rows
from trainer.evaluation.progress import Track, silently
from trainer.evaluation.scores import Row, Scorer
from trainer.evaluation.targets import Target, targets
from trainer.evaluation.tasks import mixed_rows, photo_rows
from trainer.evaluation.text_tasks import text_rows
from trainer.evaluation.wrong_photos import WrongPhoto

logger = logging.getLogger(__name__)

KEPT_PICTURES = 1600
"""Of so many it is remembered what the tower saw: the held-out designs' pictures, photos of them and their crops."""
ALL_PICTURES = 4000
"""All that one evaluation shows the tower, 1.1 GB; the next checkpoint with the same tower is shown little else."""
TASKS = (photo_rows, text_rows, mixed_rows, match_rows, prediction_rows)
PROVEN = "its record of training names no design of the test split"
UNPROVEN = "no full record of its training; that it has not seen designs of the test split is not proven"
PACKAGES = ("moon-search", "torch", "transformers", "sentence-transformers", "bm25s")


@dataclass(frozen=True)
class Evaluation:
    """The measured rows, what they were measured with, the targets they meet or miss, and photos it gets wrong."""

    rows: list[Row]
    targets: list[Target]
    setup: dict[str, Any]
    wrong_photos: list[WrongPhoto]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    settings: Settings, data: Path, seed: int = 0, track: Track = silently, memory: TowerMemory | None = None
) -> Evaluation:
    """Measure ``settings.model`` on the test split of a set laid out as ``demo/``; every SKU is in the gallery.

    Nothing is read from earlier runs. Evaluations may share a ``memory`` of what the vision tower saw: the pictures are
    the same, and so is a frozen tower. Raises ModelError for a checkpoint that was trained on test designs, and
    BadInputError for a folder without the set.
    """
    if not (data / "catalog.parquet").exists():
        raise BadInputError(f"{data} holds no catalog.parquet; point --data at a folder laid out as demo/.")
    started = time.monotonic()
    home, folder = HomeSet(data), checkpoint_folder(settings.model)
    proven = refuse_trained_on_test(folder, home)
    embedder = load_encoder(settings)
    calibration = read_calibration(folder, embedder.fingerprint)
    refuse_calibrated_on_test(calibration, home)
    tower = getattr(embedder.module.model, "vision_tower", None)
    if not isinstance(tower, EfficientNetLiteModel):
        logger.info("no raw vision baseline: the model has no vision tower with a pooled output")
        tower = None
    scorer = Scorer(seed)
    memory = memory or TowerMemory(KEPT_PICTURES)
    if tower:
        memory.serve(tower)
    with remembering(tower, memory) if tower else nullcontext():
        vision = RawVision(embedder.module) if tower else None
        gallery = Gallery(home, embedder, vision, settings, track, calibration)
        for task in TASKS:
            task(gallery, scorer)
    setup = {
        "model": embedder.name,
        "fingerprint": embedder.fingerprint,
        "calibrated": calibration is not UNCALIBRATED,
        "detector": settings.detector,
        "products": len(home.products),
        "seed": seed,
        "training_seed": training_seed(folder),
        "proof": PROVEN if proven else UNPROVEN,
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - started, 1),
    }
    return Evaluation(scorer.rows, targets(scorer, home), setup, scorer.wrong_photos)
