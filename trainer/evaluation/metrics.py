"""Retrieval metrics per query, and their means with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEPTH = 10
"""How deep rankings are judged."""

DRAWN_AT_ONCE = 4_000_000
"""Values that the bootstrap holds at once; how many does not change the result."""

LEAST_MEAN = 1e-3
"""The smallest mean that anything is divided by."""

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
    return ndcg_of_hits(hits(rankings, relevant), np.array([len(wanted) for wanted in relevant]), k)


def ndcg_of_hits(hits: NDArray[np.bool_], relevant: NDArray[np.int64], k: int = DEPTH) -> NDArray[np.float64]:
    """:func:`ndcg` from hits (queries, depth) and the number of relevant items per query (queries,), at least 1."""
    weights = 1.0 / np.log2(np.arange(2, k + 2))
    gains = hits[:, :k]
    best = weights.cumsum()[np.minimum(relevant, k) - 1]
    return gains @ weights[: gains.shape[1]] / best


def bootstrap(values: ArrayLike, seed: int, resamples: int = 1000) -> Score:
    """Mean of per-query values (queries,) and its 95 % percentile interval over resampled queries.

    Raises ValueError without values.
    """
    sample = np.asarray(values, dtype=np.float64)
    means = _resampled(sample, seed, resamples)
    return _score(sample.mean(), means)


def bootstrap_ratio(values: ArrayLike, others: ArrayLike, seed: int, resamples: int = 1000) -> Score:
    """Mean of ``values`` over the mean of ``others``, both (queries,), resampled as pairs.

    A mean of others below ``LEAST_MEAN`` counts as that, so that a system that finds nothing gives a finite ratio.
    Raises ValueError without values.
    """
    pairs = np.stack([np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)], axis=1)
    above, below = _resampled(pairs, seed, resamples).T
    value = pairs[:, 0].mean() / max(pairs[:, 1].mean(), LEAST_MEAN)
    return _score(value, above / np.maximum(below, LEAST_MEAN))


def bootstrap_statistic(
    compute: Callable[..., float], samples: Sequence[NDArray[np.float64]], seed: int, resamples: int = 200
) -> Score:
    """A statistic of samples (observations, ...) and its 95 % percentile interval, each sample resampled by itself."""
    rng = np.random.default_rng(seed)
    drawn = [compute(*(own[rng.integers(0, len(own), len(own))] for own in samples)) for _ in range(resamples)]
    return _score(compute(*samples), np.array(drawn))


def _resampled(sample: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """Means over resampled rows of ``sample`` (queries, ...), shape (resamples, ...)."""
    if not sample.size:
        raise ValueError("there are no values to average")
    rng, means = np.random.default_rng(seed), np.empty((resamples, *sample.shape[1:]))
    at_once = max(1, DRAWN_AT_ONCE // sample.size)
    for start in range(0, resamples, at_once):
        part = means[start : start + at_once]
        part[:] = sample[rng.integers(0, len(sample), (len(part), len(sample)))].mean(axis=1)
    return means


def _score(value: np.floating | float, means: NDArray[np.float64]) -> Score:
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(float(value), float(low), float(high))
