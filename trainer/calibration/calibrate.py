"""The calibration of one checkpoint, learned from the development designs of the home-goods set."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np

from app.calibration import FILE, Calibration, Competition, Evidence
from app.matryoshka import with_dim
from app.moon.embedder import load_encoder
from app.moon.fingerprint import checkpoint_folder
from app.moon.tower import EfficientNetLiteModel
from app.moon.tower_memory import TowerMemory, remembering
from app.settings import Settings
from trainer.calibration.labels import LEAST_PRODUCTS, Judged, fit_attribute, fit_category
from trainer.calibration.search import fit_search
from trainer.data.home import DevelopmentSet, HomeSet
from trainer.data.leakage import designs_of, refuse_trained_on_test
from trainer.evaluation.contest import path, truths
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.home import KEPT_PICTURES
from trainer.evaluation.labelled import attribute_contest, category_contest, values_of
from trainer.evaluation.progress import Track, silently
from trainer.evaluation.shown import Shown, shown

EVIDENCE: tuple[Evidence, ...] = ("photo", "text", "both")


def write_calibration(settings: Settings, data: Path, seed: int = 0, track: Track = silently) -> Path:
    """Write the calibration of ``settings.model`` beside its weights and return the file.

    ``data`` is a folder laid out as ``demo/``. Nothing of its test split is read. Raises ModelError for a checkpoint
    that was trained on test designs.
    """
    folder = checkpoint_folder(settings.model)
    refuse_trained_on_test(folder, HomeSet(data))
    file = folder / FILE
    file.write_text(calibrate(settings, DevelopmentSet(data), seed, track).model_dump_json(indent=1) + "\n")
    return file


def calibrate(settings: Settings, home: DevelopmentSet, seed: int = 0, track: Track = silently) -> Calibration:
    """What is learned from development products: labels by likelihood, search by known right answers."""
    encoder = load_encoder(settings)
    tower = getattr(encoder.module.model, "vision_tower", None)
    with remembering(tower, TowerMemory(KEPT_PICTURES)) if isinstance(tower, EfficientNetLiteModel) else nullcontext():
        embedder = with_dim(encoder, settings.dim)
        gallery = Gallery(home, embedder, None, settings, track)
        examples = shown(gallery, "dev")
        return Calibration(
            fingerprint=embedder.fingerprint,
            designs=tuple(designs_of(home, "dev")),
            categories={evidence: _category(gallery, _of(evidence, examples)) for evidence in EVIDENCE},
            attributes={evidence: _attributes(gallery, _of(evidence, examples)) for evidence in EVIDENCE},
            search=fit_search(gallery, home, seed),
        )


def _of(evidence: Evidence, examples: list[Shown]) -> Shown:
    """All examples of one kind of evidence as one."""
    own = [one for one in examples if one.evidence == evidence]
    products = [product for one in own for product in one.products]
    return Shown(evidence, evidence, products, np.concatenate([one.vectors for one in own]), None)


def _category(gallery: Gallery, examples: Shown) -> Competition:
    contest, rows = category_contest(gallery, examples)
    return fit_category(contest, [path(examples.products[row]) for row in rows])


def _attributes(gallery: Gallery, examples: Shown) -> dict[str, Competition]:
    """By key where enough products have it, and under "" for other keys, fitted to all together."""
    judged: dict[str, Judged] = {}
    for key in values_of(gallery.products):
        contest, rows = attribute_contest(gallery, examples, key)
        judged[key] = contest, truths(contest.labels, [examples.products[row].attributes[key] for row in rows])
    enough = {key: one for key, one in judged.items() if len(one[1]) >= LEAST_PRODUCTS}
    return {"": fit_attribute(list(judged.values())), **{key: fit_attribute([one]) for key, one in enough.items()}}
