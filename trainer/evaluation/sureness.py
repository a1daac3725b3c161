"""Whether the probabilities of held-out predictions can be believed, and what "sure" is worth."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from app.calibration import Calibration, Competition, Evidence
from trainer.evaluation.certainty import calibration_error
from trainer.evaluation.scores import MOON, UNCALIBRATED, Scorer

SURENESS = "certainty of predictions"
SOURCES: dict[Evidence, str] = {"photo": "pictures", "text": "words", "both": "picture and words"}

Answered = tuple[NDArray[np.float64], NDArray[np.floating] | NDArray[np.bool_]]
"""Probabilities of best labels and whether they are right, both of shape (products,)."""


class Sureness:
    """Collects answers by evidence and task, before and after calibration."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self.before: dict[tuple[Evidence, str], list[Answered]] = defaultdict(list)
        self.after: dict[tuple[Evidence, str], list[Answered]] = defaultdict(list)
        self.sure: dict[tuple[Evidence, str], list[list[bool]]] = defaultdict(list)

    def add(
        self, evidence: Evidence, task: str, before: Answered, after: Answered, how: Competition, level: int = 0
    ) -> None:
        """Answers to one task; without a calibration for the evidence only those before count."""
        key = evidence, task
        self.before[key].append(before)
        if evidence in self._calibration.categories:
            self.after[key].append(after)
            self.sure[key].append([how.is_sure(probability, level) for probability in after[0]])


def sureness_rows(sureness: Sureness, scorer: Scorer) -> None:
    """Expected calibration error before and after, the share of sure answers, and how many of those are right."""
    for key, answers in sorted(sureness.before.items()):
        evidence, task = key
        source, samples = SOURCES[evidence], {UNCALIBRATED: _together(answers)}
        if key in sureness.after:
            samples = {MOON: _together(sureness.after[key]), **samples}
        error = {system: (np.stack(own, axis=1),) for system, own in samples.items()}
        scorer.statistic(SURENESS, source, f"{task}: calibration error", _error, error)
        if key in sureness.after:
            sure = np.concatenate(sureness.sure[key])
            scorer.add(SURENESS, source, f"{task}: share of sure answers", {MOON: sure.astype(np.float64)})
            if sure.any():
                scorer.add(SURENESS, source, f"{task}: sure answers that are right", {MOON: samples[MOON][1][sure]})


def _together(answers: list[Answered]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    confidences, right = zip(*answers, strict=True)
    return np.concatenate(confidences), np.concatenate(right).astype(np.float64)


def _error(answers: NDArray[np.float64]) -> float:
    return calibration_error(answers[:, 0], answers[:, 1])
