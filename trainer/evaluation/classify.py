"""Prediction tasks of the home-goods evaluation: category and attributes by label embedding (paper, section 7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.calibration import ATTRIBUTE, CATEGORY, Competition
from trainer.evaluation.baselines import neighbour_vote
from trainer.evaluation.contest import Contest, ancestor, answered, at_level, path, truths
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.labelled import attribute_contest, category_contest, values_of
from trainer.evaluation.metrics import DEPTH, rank, recall
from trainer.evaluation.palette import Palette
from trainer.evaluation.scores import LABELS, MOON, PALETTE, VOTE, Scorer, Values
from trainer.evaluation.shown import Shown, shown
from trainer.evaluation.sureness import Sureness, sureness_rows

PREDICTION = "prediction"
COLOUR = "color"
LEVELS = (1, 2, 3)
ATTRIBUTES = "all attributes"


def prediction_rows(gallery: Gallery, scorer: Scorer) -> None:
    """Held-out products by picture, words and both, and by the customer's photo of them; then how sure answers are.

    Category and attributes are never fed. Labels are all categories and values of the catalog. Neighbours that vote and
    the palette's centres are of training products alone.
    """
    palette, sureness = _palette(gallery), Sureness(gallery.calibration)
    for one in shown(gallery, "test"):
        _category_rows(gallery, scorer, one, sureness)
        for key in values_of(gallery.products):
            _attribute_row(gallery, scorer, one, key, palette, sureness)
    sureness_rows(sureness, scorer)


def category_metric(level: int) -> str:
    return f"category level {level} top-1"


def attribute_metric(key: str) -> str:
    return f"{key} top-1"


def _palette(gallery: Gallery) -> Palette | None:
    """Of the training products that have a picture, by the first of their colours, which is the main one."""
    known = [row for row in gallery.training if gallery.products[row].attributes.get(COLOUR)]
    known = [row for row in known if gallery.products[row].images]
    names = [gallery.products[row].attributes[COLOUR][0] for row in known]
    return Palette(gallery.colours[known], names) if known else None


def _category_rows(gallery: Gallery, scorer: Scorer, one: Shown, sureness: Sureness) -> None:
    contest, rows = category_contest(gallery, one)
    paths = [path(one.products[row]) for row in rows]
    voters = [row for row in gallery.training if gallery.products[row].category]
    ends = [path(gallery.products[row]) for row in voters]
    neighbours = one.vectors[rows] @ gallery.vectors[voters].T
    how = gallery.calibration.category(one.evidence)
    found, before = contest.probabilities(how), contest.probabilities(CATEGORY)
    alone = _labels_alone(contest, how)
    for level in LEVELS:
        truth = [ancestor(own, level) for own in paths]
        vote = neighbour_vote(neighbours, [ancestor(own, level) for own in ends])
        right: Values = {
            MOON: _right_at(found, contest, truth, level)[1],
            LABELS: _right_at(alone, contest, truth, level)[1],
            VOTE: _among(vote, [[own] for own in truth]),
        }
        scorer.add(PREDICTION, one.source, category_metric(level), right)
        earlier, now = (_right_at(own, contest, truth, level) for own in (before, found))
        sureness.add(one.evidence, f"category level {level}", "category", earlier, now, how, level - 1)
    leaves = [{contest.labels.index(own)} for own in paths]
    rankings = {MOON: rank(found), LABELS: rank(alone)}
    for k in (1, DEPTH):
        tops = {system: recall(own, leaves, k) for system, own in rankings.items()}
        scorer.add(PREDICTION, one.source, f"category leaf top-{k}", tops)


def _attribute_row(
    gallery: Gallery, scorer: Scorer, one: Shown, key: str, palette: Palette | None, sureness: Sureness
) -> None:
    """Over products that have the key; any of their values is right."""
    contest, rows = attribute_contest(gallery, one, key)
    if not rows:
        return
    truth = [one.products[row].attributes[key] for row in rows]
    named = truths(contest.labels, truth)
    how = gallery.calibration.attribute(one.evidence, key)
    found, before = (answered(contest.probabilities(own), named) for own in (how, ATTRIBUTE))
    right = {MOON: found[1].astype(np.float64), LABELS: answered(_labels_alone(contest, how), named)[1].astype(float)}
    if key == COLOUR and palette is not None and one.colours is not None:
        right[PALETTE] = _among(palette.names(one.colours[rows]), truth)
    scorer.add(PREDICTION, one.source, attribute_metric(key), right)
    sureness.add(one.evidence, ATTRIBUTES, key, before, found, how)


def _labels_alone(contest: Contest, how: Competition) -> NDArray[np.float64]:
    return contest.probabilities(how.model_copy(update={"vote": 0.0}))


def _right_at(
    found: NDArray[np.float64], contest: Contest, truth: Sequence[str], level: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each product the probability of its most probable category of a level, and 1 if that is the true one."""
    names, at = at_level(found, contest.labels, level)
    confidence, right = answered(at, truths(names, [[own] for own in truth]))
    return confidence, right.astype(np.float64)


def _among(answers: Sequence[str], truth: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    return np.array([answer in own for answer, own in zip(answers, truth, strict=True)], dtype=np.float64)
