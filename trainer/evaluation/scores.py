"""What the tasks of the home-goods evaluation hand in: rows for the report, per-query values for the targets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import DEPTH, Rankings, Score, bootstrap, bootstrap_statistic, ndcg, recall
from trainer.evaluation.wrong_photos import WrongPhoto

MOON, VISION, LEXICAL, CENTRE = "MOON", "raw vision", "BM25", "centre box"
LOCAL_LEXICAL, FUSED = "BM25, titles in all languages", "MOON + BM25"
VOTE, PALETTE, LABELS = "nearest neighbour vote", "nearest palette name", "labels alone"
UNCALIBRATED = "before calibration"

Values = Mapping[str, NDArray[np.float64]]
"""Per-query values (queries,) by system, the queries in one order, so that systems can be compared in pairs."""

Samples = tuple[NDArray[np.float64], ...]
"""Samples (observations, ...) that one number is computed from."""


@dataclass(frozen=True)
class Key:
    """Names one row of the report: what task, which queries, which metric."""

    section: str
    query: str
    metric: str


@dataclass(frozen=True)
class Row:
    """One line of the report: a metric of one query set, for every system that can answer it."""

    section: str
    query: str
    metric: str
    n: int
    scores: dict[str, Score]


class Scorer:
    """Collects rows and what they are means of; intervals are resampled over queries with one seed.

    ``wrong_photos`` are examples of what MOON gets wrong.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rows: list[Row] = []
        self.values: dict[Key, Values] = {}
        self.wrong_photos: list[WrongPhoto] = []

    def add(self, section: str, query: str, metric: str, values: Values) -> None:
        """Per-query values by system become one row."""
        scores = {system: bootstrap(own, self.seed) for system, own in values.items()}
        self.rows.append(Row(section, query, metric, len(next(iter(values.values()))), scores))
        self.values[Key(section, query, metric)] = values

    def statistic(
        self, section: str, query: str, metric: str, compute: Callable[..., float], samples: Mapping[str, Samples]
    ) -> None:
        """A number of whole samples by system, which is no mean; intervals are resampled, each sample by itself."""
        scores = {system: bootstrap_statistic(compute, own, self.seed) for system, own in samples.items()}
        n = sum(len(own) for own in next(iter(samples.values())))
        self.rows.append(Row(section, query, metric, n, scores))

    def recalls(
        self,
        section: str,
        query: str,
        what: str,
        k: int,
        rankings: Mapping[str, Rankings | None],
        relevant: Sequence[Collection[int]],
    ) -> None:
        """R@k of every system that gave a ranking; ``what`` says what counts as right."""
        given = {system: recall(own, relevant, k) for system, own in rankings.items() if own is not None}
        self.add(section, query, f"{what} R@{k}" if what else f"R@{k}", given)

    def graded(
        self, section: str, query: str, rankings: Mapping[str, Rankings | None], relevant: Sequence[Collection[int]]
    ) -> None:
        """nDCG@DEPTH of every system that gave a ranking."""
        given = {system: ndcg(own, relevant) for system, own in rankings.items() if own is not None}
        self.add(section, query, f"nDCG@{DEPTH}", given)
