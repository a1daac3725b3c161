"""The home-goods evaluation: MOON and its baselines on held-out designs, in one run, through the product's own path."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from app.errors import BadInputError
from app.moon.embedder import load_encoder
from app.moon.fingerprint import checkpoint_folder
from app.moon.load import load_module
from app.moon.tower import EfficientNetLiteConfig
from app.settings import Settings
from trainer.data.home import HomeSet
from trainer.data.leakage import refuse_trained_on_test
from trainer.evaluation.baselines import RawVision
from trainer.evaluation.classify import prediction_rows
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.progress import Track, silently
from trainer.evaluation.tasks import MOON, VISION, Row, Scorer, mixed_rows, photo_rows, text_rows

logger = logging.getLogger(__name__)

PHOTO_TARGET = 0.55
NAME_TARGET = 0.80
PACKAGES = ("moon-search", "torch", "transformers", "sentence-transformers", "bm25s")


@dataclass(frozen=True)
class Target:
    """What the model must reach, and whether it did."""

    text: str
    passed: bool


@dataclass(frozen=True)
class Evaluation:
    """The measured rows, what they were measured with, and the targets they meet or miss."""

    rows: list[Row]
    targets: list[Target]
    setup: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(settings: Settings, data: Path, seed: int = 0, track: Track = silently) -> Evaluation:
    """Measure ``settings.model`` on the test split of a set laid out as ``demo/``; every SKU is in the gallery.

    Nothing is read from earlier runs. Raises ModelError for a checkpoint that was trained on test designs, and
    BadInputError for a folder without the set.
    """
    if not (data / "catalog.parquet").exists():
        raise BadInputError(f"{data} holds no catalog.parquet; point --data at a folder laid out as demo/.")
    started = time.monotonic()
    home, folder = HomeSet(data), checkpoint_folder(settings.model)
    refuse_trained_on_test(folder, home)
    embedder = load_encoder(settings)
    gallery = Gallery(home, embedder, _raw_vision(settings, folder), settings, track)
    scorer = Scorer(seed)
    for task in (photo_rows, text_rows, mixed_rows, prediction_rows):
        task(gallery, scorer)
    setup = {
        "model": embedder.name,
        "fingerprint": embedder.fingerprint,
        "detector": settings.detector,
        "products": len(home.products),
        "seed": seed,
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - started, 1),
    }
    return Evaluation(scorer.rows, targets(scorer.rows), setup)


def targets(rows: Sequence[Row]) -> list[Target]:
    """The project's acceptance numbers against measured rows."""
    photo = _row(rows, "customer photo", "whole photo, box by the model's detector", "same model R@1").scores
    name = _row(rows, "text", "en name", "R@10").scores[MOON].value
    moon = photo[MOON].value
    found = [Target(f"photo to same model R@1 {moon:.3f}, wanted at least {PHOTO_TARGET:.2f}", moon >= PHOTO_TARGET)]
    if VISION in photo:
        raw = photo[VISION].value
        found.append(Target(f"photo to same model R@1 {moon:.3f}, wanted above raw vision's {raw:.3f}", moon > raw))
    found.append(Target(f"English name R@10 {name:.3f}, wanted at least {NAME_TARGET:.2f}", name >= NAME_TARGET))
    return found


def _row(rows: Sequence[Row], section: str, query: str, metric: str) -> Row:
    return next(row for row in rows if (row.section, row.query, row.metric) == (section, query, metric))


def _raw_vision(settings: Settings, folder: Path) -> RawVision | None:
    """A second copy of the checkpoint, for its tower alone; None for towers that have no pooled output."""
    kind = AutoConfig.from_pretrained(folder).vision_config.model_type
    if kind != EfficientNetLiteConfig.model_type:
        logger.info("no raw vision baseline: the vision tower %s has no pooled output", kind)
        return None
    return RawVision(load_module(settings.model, torch.float32))
