"""Whether probabilities can be believed: expected calibration error, and the least value that keeps a precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15


def calibration_error(confidences: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: sum over bins b of n_b / n * |accuracy of b - mean confidence of b|.

    Answers with ``confidences`` (answers,) from 0 to 1 go to bins of equal width; ``right`` (answers,) says which were.
    Guo et al., "On Calibration of Modern Neural Networks" (2017), equation 3. Raises ValueError without answers.
    """
    confidence, truth = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not confidence.size:
        raise ValueError("there are no answers to judge")
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(places, weights=truth - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def least(values: ArrayLike, right: ArrayLike, precision: float, count: int) -> float | None:
    """The least value from which on a share of ``precision`` is right; None if no ``count`` values are that sure.

    ``values`` and ``right`` have the shape (answers,); equal values stand or fall together.
    """
    given, truth = np.asarray(values, dtype=np.float64), np.asarray(right, dtype=np.float64)
    order = np.argsort(-given, kind="stable")
    given, truth = given[order], truth[order]
    kept = np.arange(1, len(given) + 1)
    last_of_equals = np.append(given[1:] != given[:-1], True)
    holds = np.flatnonzero(last_of_equals & (kept >= count) & (truth.cumsum() >= precision * kept))
    return float(given[holds[-1]]) if len(holds) else None


def separation(known: NDArray[np.floating], foreign: NDArray[np.floating]) -> float:
    """AUROC: how often a known query's score (known,) is above a foreign one's (foreign,); ties count half."""
    below = np.searchsorted(np.sort(foreign), known, side="left")
    ties = np.searchsorted(np.sort(foreign), known, side="right") - below
    return float((below + ties / 2).mean() / len(foreign))
