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
Answers = dict[tuple[Evidence, str], list[NDArray[np.float64]]]
"""By evidence and task, rows (products, 3): probability, whether it is right, and the number of its contest."""


class Sureness:
    """Collects answers by evidence and task, before and after calibration; the attributes are many contests."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._contests: dict[str, int] = {}
        self.before: Answers = defaultdict(list)
        self.after: Answers = defaultdict(list)
        self.sure: dict[tuple[Evidence, str], list[bool]] = defaultdict(list)

    def add(
        self,
        evidence: Evidence,
        task: str,
        contest: str,
        before: Answered,
        after: Answered,
        how: Competition,
        level: int = 0,
    ) -> None:
        """Answers of one contest; without a calibration for the evidence only those before count."""
        key, number = (evidence, task), self._contests.setdefault(contest, len(self._contests))
        self.before[key].append(_rows(before, number))
        if evidence in self._calibration.categories:
            self.after[key].append(_rows(after, number))
            self.sure[key] += [how.is_sure(probability, level) for probability in after[0]]


def sureness_rows(sureness: Sureness, scorer: Scorer) -> None:
    """Expected calibration error before and after, the share of sure answers, and how many of those are right.

    The error of several contests is the mean of each one's, weighted by its answers: one too sure and one not sure
    enough do not make up for each other.
    """
    for key, answers in sorted(sureness.before.items()):
        evidence, task = key
        source, samples = SOURCES[evidence], {UNCALIBRATED: (np.concatenate(answers),)}
        if key in sureness.after:
            samples = {MOON: (np.concatenate(sureness.after[key]),), **samples}
        scorer.statistic(SURENESS, source, f"{task}: calibration error", _error, samples)
        if key in sureness.after:
            sure = np.array(sureness.sure[key])
            scorer.add(SURENESS, source, f"{task}: share of sure answers", {MOON: sure.astype(np.float64)})
            if sure.any():
                right = samples[MOON][0][sure, 1]
                scorer.add(SURENESS, source, f"{task}: sure answers that are right", {MOON: right})


def _rows(answered: Answered, contest: int) -> NDArray[np.float64]:
    confidences, right = answered
    return np.stack([confidences, right.astype(np.float64), np.full(len(right), float(contest))], axis=1)


def _error(answers: NDArray[np.float64]) -> float:
    parts = [answers[answers[:, 2] == contest] for contest in np.unique(answers[:, 2])]
    return float(sum(len(own) * calibration_error(own[:, 0], own[:, 1]) for own in parts) / len(answers))
