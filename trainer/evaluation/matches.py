"""What match levels of held-out searches are worth, and whether queries for what the catalog lacks are told apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.calibration import Evidence
from trainer.evaluation.asked import Answers, Asked, answer, foreign_scores
from trainer.evaluation.certainty import separation
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.scores import MOON, Scorer

MATCHES = "match levels"
QUERIES = 500
"""Queries of each kind, spread evenly over all."""
SOURCES: dict[Evidence, str] = {"photo": "photo", "text": "text", "both": "photo + text"}


def match_rows(gallery: Gallery, scorer: Scorer) -> None:
    """The queries that other tasks asked, to the whole catalog, and to one without their top category."""
    asked = [_spread(one) for one in gallery.asked]
    known = answer(gallery.products, gallery.vectors, asked)
    foreign = foreign_scores(gallery.products, gallery.vectors, asked)
    for one, own, other in zip(asked, known, foreign, strict=True):
        source = SOURCES[one.kind]
        if len(other):
            samples = {MOON: (own.scores[:, 0], other)}
            scorer.statistic(MATCHES, source, "known above foreign: AUROC", separation, samples)
        _level_rows(gallery, scorer, one.kind, own, other)


def _level_rows(gallery: Gallery, scorer: Scorer, kind: Evidence, known: Answers, foreign: NDArray[np.float64]) -> None:
    thresholds = gallery.calibration.search.get(kind)
    if thresholds is None:
        return
    levels = np.array([[thresholds.match(score) for score in scores] for scores in known.scores])
    shares = {
        "known queries that are told of a match": levels[:, 0] != "none",
        "foreign queries that are told of a match": np.array([thresholds.match(score) != "none" for score in foreign]),
        "known queries with a best match": levels[:, 0] == "best",
        "best matches that are right": known.right[levels == "best"],
        "best and related hits of a right one's kind": known.related[levels != "none"],
    }
    for metric, told in shares.items():
        if len(told):
            scorer.add(MATCHES, SOURCES[kind], metric, {MOON: told.astype(np.float64)})


def _spread(asked: Asked) -> Asked:
    rows = np.linspace(0, len(asked.texts) - 1, min(QUERIES, len(asked.texts))).round().astype(int)
    texts, right = [asked.texts[row] for row in rows], [asked.right[row] for row in rows]
    return Asked(asked.kind, texts, asked.vectors[rows], right)
