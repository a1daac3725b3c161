"""What turns a model's similarities into probabilities and match levels: ``calibration.json`` beside the checkpoint.

`trainer calibrate` writes the file. A model without it is answered for with :data:`CATEGORY` and :data:`ATTRIBUTE`, and
nothing is said to be sure or a match.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import ModelError
from app.schema import Match, SearchResult

logger = logging.getLogger(__name__)

FILE = "calibration.json"

VOTERS = 20
"""How many of the nearest products vote for what they are."""

Evidence = Literal["photo", "text", "both"]
"""What a query or a product to predict is shown by. Similarities of pictures and of words lie apart (modality gap)."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Competition(_Part):
    """How labels that compete for a product become probabilities, and from which probability on the best one is sure.

    ``temperature`` divides cosine similarities before the softmax; ``vote`` is what the nearest products count beside
    1 - vote of the labels. ``sure`` has one least probability per level of the category tree, root first (the last
    holds for all levels below), or one for an attribute; null: never sure.
    """

    temperature: float = Field(gt=0)
    vote: float = Field(ge=0, le=1)
    sure: tuple[float | None, ...] = ()

    def is_sure(self, probability: float, level: int = 0) -> bool:
        """Whether the best label of a level is sure."""
        least = self.sure[min(level, len(self.sure) - 1)] if self.sure else None
        return least is not None and probability >= least


CATEGORY = Competition(temperature=0.05, vote=0.1)
"""Without calibration: the temperature at which MOON's training loss starts, and a small vote (our decision): where
labels are sure (a title says it), it changes nothing; where they are all alike (a picture alone), it decides."""
ATTRIBUTE = Competition(temperature=0.05, vote=0.0)


class Thresholds(_Part):
    """Least scores of a hit that is a best match (null: none is), and of one that is related."""

    best: float | None
    related: float

    def match(self, score: float) -> Match:
        """The level of a hit with this :class:`app.schema.Hit` score."""
        if self.best is not None and score >= self.best:
            return "best"
        return "related" if score >= self.related else "none"


class Calibration(_Part):
    """All that was learned for one model, apart for what is shown; ``attributes`` by key, "" for all other keys.

    ``fingerprint`` names the vectors that it was learned for, ``designs`` the hashes of the designs that it was learned
    from.
    """

    version: Literal[1] = 1
    fingerprint: str
    designs: tuple[str, ...]
    categories: dict[Evidence, Competition]
    attributes: dict[Evidence, dict[str, Competition]]
    search: dict[Evidence, Thresholds]

    def category(self, shown: Evidence) -> Competition:
        return self.categories.get(shown, CATEGORY)

    def attribute(self, shown: Evidence, key: str) -> Competition:
        keys = self.attributes.get(shown, {})
        return keys.get(key) or keys.get("", ATTRIBUTE)

    def judge(self, found: SearchResult, asked: Evidence) -> None:
        """Set the match level of each hit, and whether any is a match; nothing where the model cannot tell."""
        if (thresholds := self.search.get(asked)) is None:
            return
        for hit in found.hits:
            hit.match = thresholds.match(hit.score)
        found.matched = any(hit.match != "none" for hit in found.hits)


UNCALIBRATED = Calibration(fingerprint="", designs=(), categories={}, attributes={}, search={})


def evidence(text: str, photo: object | None) -> Evidence:
    """What is shown by words, a photo or both.

    >>> evidence("armchair", None)
    'text'
    """
    if photo is None:
        return "text"
    return "both" if text else "photo"


def read_calibration(folder: Path, fingerprint: str) -> Calibration:
    """The calibration of the checkpoint in ``folder``; :data:`UNCALIBRATED` without one.

    One that was learned for vectors of another ``fingerprint`` (other weights, detector or dimensions) is left aside
    with a warning. Raises ModelError for a file that is broken or of a newer version.
    """
    file = folder / FILE
    if not file.is_file():
        return UNCALIBRATED
    try:
        calibration = Calibration.model_validate_json(file.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise ModelError(
            f"{file} cannot be used: {where}: {problem['msg']}; this release reads version 1; write it "
            "anew with `trainer calibrate`, or delete it to go without"
        ) from error
    if calibration.fingerprint != fingerprint:
        logger.warning(
            "%s is of other vectors (%s) than those of this model and its settings (%s) and is left aside; "
            "run `trainer calibrate`",
            file,
            calibration.fingerprint,
            fingerprint,
        )
        return UNCALIBRATED
    return calibration


def probabilities(
    similarities: NDArray[np.floating], near: NDArray[np.floating], carried: NDArray[np.floating], how: Competition
) -> NDArray[np.float64]:
    """Probabilities (..., labels) of labels by their similarities, joined with the vote of the nearest products.

    ``near`` (..., voters) are the products' similarities, ``carried`` (..., voters, labels) the share of each label in
    what a product is: rows add up to 1, or to 0 for a product that is none of the labels. A product's vote is its
    softmax among those that are; without any, labels decide alone.
    """
    own = softmax(similarities, how.temperature)
    known = carried.any(axis=-1)
    weights = softmax(np.where(known, near, -np.inf), how.temperature)
    votes = (weights[..., None] * carried).sum(axis=-2)
    share = how.vote * known.any(axis=-1, keepdims=True)
    return (1 - share) * own + share * votes


def softmax(similarities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Of similarities (..., labels) divided by the temperature; all zeros where every similarity is -inf."""
    logits = similarities.astype(np.float64) / temperature
    highest = logits.max(axis=-1, keepdims=True, initial=-np.inf)
    weights: NDArray[np.float64] = np.exp(logits - np.where(np.isfinite(highest), highest, 0.0))
    return weights / np.maximum(weights.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)


def shares(labels: Mapping[str, int], carried: list[list[str]]) -> NDArray[np.float64]:
    """What each product is as (products, labels), for :func:`probabilities`; ``labels`` maps a label to its column.

    >>> shares({"red": 0, "blue": 1}, [["red", "blue"], ["blue", "pink"], []]).tolist()
    [[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]]
    """
    found = np.zeros((len(carried), len(labels)))
    for row, own in enumerate(carried):
        known = [labels[label] for label in own if label in labels]
        found[row, known] = 1 / max(len(known), 1)
    return found
