"""One checkpoint's tolerance of missing fields: the run that measures it, and its tables."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.calibration import read_calibration
from app.complete import LEAST_CONFIDENCE, Generator
from app.matryoshka import with_dim
from app.moon.embedder import load_encoder
from app.moon.fingerprint import checkpoint_folder
from app.moon.tower import EfficientNetLiteModel
from app.moon.tower_memory import TowerMemory, remembering
from app.settings import Settings
from trainer.data.home import DevelopmentSet, HomeSet
from trainer.data.leakage import refuse_calibrated_on_test, refuse_trained_on_test
from trainer.data.record import Split
from trainer.evaluation.fillings import Filling
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.home import KEPT_PICTURES, PROVEN, UNPROVEN
from trainer.evaluation.progress import Track, silently
from trainer.evaluation.tables import TextTable, score
from trainer.evaluation.tolerance import CUTOFFS, Tolerance, ToleranceTest, training_completer


@dataclass(frozen=True)
class Measured:
    """What was measured, and with what."""

    rows: list[Tolerance]
    fillings: list[Filling]
    setup: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure_tolerance(
    settings: Settings,
    data: Path,
    split: Split = "test",
    limit: int | None = None,
    least: float = LEAST_CONFIDENCE,
    generator: Generator | None = None,
    seed: int = 0,
    track: Track = silently,
) -> Measured:
    """Measure ``settings.model`` on ``split`` of a set laid out as ``demo/``, on ``limit`` designs of it if given.

    ``least`` and ``generator`` are those of :class:`app.complete.Completer`. Of ``dev`` nothing of the test split is
    read. Raises ModelError for a checkpoint that was trained or calibrated on test designs.
    """
    folder = checkpoint_folder(settings.model)
    proven = refuse_trained_on_test(folder, HomeSet(data))
    encoder = load_encoder(settings)
    embedder = with_dim(encoder, settings.dim)
    calibration = read_calibration(folder, embedder.fingerprint)
    refuse_calibrated_on_test(calibration, HomeSet(data))
    home = HomeSet(data) if split == "test" else DevelopmentSet(data)
    tower = getattr(encoder.module.model, "vision_tower", None)
    with remembering(tower, TowerMemory(KEPT_PICTURES)) if isinstance(tower, EfficientNetLiteModel) else nullcontext():
        gallery = Gallery(home, embedder, None, settings, track, calibration)
        test = ToleranceTest(gallery, split, seed, limit)
        with training_completer(gallery, least, generator) as completer:
            rows, fillings = test.measure(completer)
    setup = {
        "model": embedder.name,
        "fingerprint": embedder.fingerprint,
        "split": split,
        "designs": test.designs,
        "lacking": len(test.rows),
        "products": len(gallery.products),
        "neighbours": len(gallery.training),
        "confidence": least,
        "seed": seed,
        "proven": proven,
    }
    return Measured(rows, fillings, setup)


def tolerance_tables(measured: Measured) -> list[TextTable]:
    """One table per cutoff, then how right the completion was."""
    header = ("who", "lacks", "query", "n", "whole", "without", "lost", "completed", "recovered")
    tables = []
    for k in CUTOFFS:
        cells: list[tuple[str, ...]] = []
        for row in measured.rows:
            if row.k == k:
                scores = (row.whole, row.without, row.lost, row.completed, row.recovered)
                cells.append((row.who, row.field, row.query, str(row.n), *map(score, scores)))
        tables.append(TextTable(f"Missing fields: R@{k}", header, 3, cells))
    filled: list[tuple[str, ...]] = [
        (one.lacking, one.field, str(one.products), str(one.filled), score(one.right)) for one in measured.fillings
    ]
    return [*tables, TextTable("What was filled in", ("lacks", "field", "products", "filled in", "right"), 2, filled)]


def setup_line(measured: Measured) -> str:
    """What was measured with what."""
    setup = measured.setup
    proof = PROVEN if setup["proven"] else UNPROVEN
    return (
        f"{setup['model']} ({setup['fingerprint']}): {proof}. Split {setup['split']}: {setup['lacking']} SKUs of "
        f"{setup['designs']} designs lack the field, of {setup['products']} in the gallery; {setup['neighbours']} "
        f"training products vote, values from probability {setup['confidence']:g} on are filled in. In brackets 95 % "
        f"bootstrap intervals over queries, seed {setup['seed']}."
    )
