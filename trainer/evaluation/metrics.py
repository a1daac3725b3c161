"""Retrieval metrics per query, and their means with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEPTH = 10
"""How deep rankings are judged."""

Rankings = NDArray[np.int64]
"""Best items first, shape (queries, depth); -1 where a system found fewer items."""


@dataclass(frozen=True)
class Score:
    """A mean over queries with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def rank(similarities: NDArray[np.floating], depth: int = DEPTH) -> Rankings:
    """The ``depth`` most similar items per query from similarities (queries, items); ties keep the items' order."""
    return np.argsort(-similarities, axis=1, kind="stable")[:, :depth]


def hits(rankings: Rankings, relevant: Sequence[Collection[int]]) -> NDArray[np.bool_]:
    """Which ranked items are relevant, shape of ``rankings``."""
    return np.array([[item in wanted for item in row] for row, wanted in zip(rankings, relevant, strict=True)])


def recall(rankings: Rankings, relevant: Sequence[Collection[int]], k: int) -> NDArray[np.float64]:
    """Per query, 1 if a relevant item is among the first ``k``, else 0 (R@k as in the paper), shape (queries,)."""
    return np.asarray(hits(rankings, relevant)[:, :k].any(axis=1), dtype=np.float64)


def ndcg(rankings: Rankings, relevant: Sequence[Collection[int]], k: int = DEPTH) -> NDArray[np.float64]:
    """Per query, nDCG@k with binary relevance: 1 if the first places are all relevant, shape (queries,).

    Items of one query's ranking must be distinct.
    """
    weights = 1.0 / np.log2(np.arange(2, k + 2))
    gains = hits(rankings, relevant)[:, :k]
    found = gains @ weights[: gains.shape[1]]
    best = np.array([weights[: len(wanted)].sum() for wanted in relevant])
    return found / best


def bootstrap(values: ArrayLike, seed: int, resamples: int = 1000) -> Score:
    """Mean of per-query values (queries,) and its 95 % percentile interval over resampled queries.

    Raises ValueError without values.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size:
        raise ValueError("there are no values to average")
    drawn = np.random.default_rng(seed).integers(0, sample.size, (resamples, sample.size))
    low, high = np.quantile(sample[drawn].mean(axis=1), [0.025, 0.975])
    return Score(float(sample.mean()), float(low), float(high))
