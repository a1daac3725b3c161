"""Category and attribute prediction: the labels of the published index compete for a product's vector."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import and_
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.calibration import UNCALIBRATED, VOTERS, Calibration, Competition, Evidence, evidence, probabilities, shares
from app.encoder import Embedder, Vectors
from app.errors import BadInputError
from app.schema import (
    CATEGORY_SEPARATOR,
    Box,
    Candidate,
    FacetValue,
    Filters,
    Hit,
    Prediction,
    Product,
    Query,
    Sure,
    category_levels,
)
from app.search import clean_text, photo_box
from app.settings import Settings
from app.store.base import Index
from app.store.live import LiveIndex
from app.timing import Stopwatch

MAX_CATEGORIES = 10_000
MAX_VALUES_PER_KEY = 1000

Segment = Literal["category", "attribute"]


class Unpredicted(NamedTuple):
    """What is known of a product: a title, a photo or both; only the photo's ``box`` is looked at."""

    title: str = ""
    image: Image | None = None
    box: Box | None = None


class Voted(NamedTuple):
    """A prediction, and the indexed products that voted for it, the nearest first."""

    prediction: Prediction
    nearest: list[Hit]


@dataclass(frozen=True)
class _LabelSet:
    """Labels that compete with each other, and their vectors of shape (labels, dimensions)."""

    labels: list[str]
    vectors: Vectors

    def probabilities(
        self, vector: NDArray[np.float32], nearest: list[Hit], carried: list[list[str]], how: Competition
    ) -> dict[str, float]:
        """Probabilities by label for a vector of shape (dimensions,); ``carried`` says what each of the nearest is."""
        columns = {label: column for column, label in enumerate(self.labels)}
        near = np.array([hit.score for hit in nearest])
        found = probabilities(self.vectors @ vector, near, shares(columns, carried), how)
        return dict(zip(self.labels, found.tolist(), strict=True))


@dataclass(frozen=True)
class _Labels:
    """The labels of one build: the categories that products end at, and the values of each attribute key."""

    build: str
    categories: _LabelSet | None
    attributes: dict[str, _LabelSet]


class Predictor:
    """Zero-shot prediction by label embedding: argmax over labels of sim(f(product), f(label)). Thread-safe.

    A label's probability is a softmax over all labels that it competes with, and a vote of the nearest products
    (:func:`app.calibration.probabilities`); a parent category's is the sum of its children's, so the levels never
    contradict each other. Label vectors are kept from build to build. ``observe`` is told the timings of every
    prediction, in milliseconds.
    """

    def __init__(
        self,
        embedder: Embedder,
        live: LiveIndex,
        settings: Settings,
        calibration: Calibration = UNCALIBRATED,
        observe: Callable[[dict[str, float]], None] = lambda timings: None,
    ) -> None:
        self._embedder = embedder
        self._calibration = calibration
        self._live = live
        self._settings = settings
        self._observe = observe
        self._lock = threading.Lock()
        self._labels: _Labels | None = None
        self._vectors: dict[tuple[Segment, str], NDArray[np.float32]] = {}

    def predict(
        self,
        image: Image | None = None,
        title: str = "",
        box: Box | None = None,
        limit: int = 10,
        watch: Stopwatch | None = None,
    ) -> Prediction:
        """The ``limit`` best candidates per category level and attribute key for a photo, a title or both.

        With a ``box``, only that part of the photo is embedded. Nothing but photo and title enters the product's
        vector. Raises BadInputError without either, for a too long title or a box outside of the photo, and
        IndexUnavailableError while no build is published.
        """
        outcome = self.predict_many([Unpredicted(title, image, box)], limit, watch)[0]
        if isinstance(outcome, BadInputError):
            raise outcome
        return outcome

    def predict_many(
        self, products: Sequence[Unpredicted | BadInputError], limit: int = 10, watch: Stopwatch | None = None
    ) -> list[Prediction | BadInputError]:
        """As ``predict`` for each product, embedded in one call; an unusable one, or an error, becomes an error.

        ``timings`` are those of all products together.
        """
        voted = self.vote_many(products, limit, watch)
        return [outcome.prediction if isinstance(outcome, Voted) else outcome for outcome in voted]

    def vote_many(
        self, products: Sequence[Unpredicted | BadInputError], limit: int = 10, watch: Stopwatch | None = None
    ) -> list[Voted | BadInputError]:
        """As ``predict_many``, with the products that voted."""
        watch = watch or Stopwatch()
        if limit < 1:
            raise BadInputError(f"limit is {limit}; it must be at least 1")
        checked = [self._checked(product) for product in products]
        usable = [product for product in checked if not isinstance(product, BadInputError)]
        with watch.stage("labels"):
            labels = self._published_labels()
        with watch.stage("embed"):
            vectors = iter(self._embed_products(usable))
        return [
            product
            if isinstance(product, BadInputError)
            else self._predicted(product, next(vectors), labels, limit, watch)
            for product in checked
        ]

    def _checked(self, product: Unpredicted | BadInputError) -> Unpredicted | BadInputError:
        if isinstance(product, BadInputError):
            return product
        try:
            title = clean_text(product.title, self._settings.max_text_chars)
            if not title and product.image is None:
                raise BadInputError("there is nothing to predict from; add a photo, a title, or both")
            return product._replace(title=title, box=photo_box(Query(image=product.image, box=product.box)))
        except BadInputError as error:
            return error

    def _embed_products(self, products: Sequence[Unpredicted]) -> Vectors | list[NDArray[np.float32]]:
        if not products:
            return []
        pictures = [[] if p.image is None else [p.image if p.box is None else _crop(p.image, p.box)] for p in products]
        return self._embedder.embed_products([Product(id="?", title=p.title) for p in products], pictures)

    def _predicted(
        self, product: Unpredicted, vector: NDArray[np.float32], labels: _Labels, limit: int, watch: Stopwatch
    ) -> Voted:
        with watch.stage("neighbours"), self._live.index() as index:
            nearest = index.search(vector, Filters(), VOTERS)
        shown, known = evidence(product.title, product.image), self._calibration
        with watch.stage("predict"):
            levels, attributes = _probabilities(labels, vector, nearest, shown, known)
        self._observe(timings := watch.timings())
        prediction = Prediction(
            categories=[_best(level, limit) for level in levels],
            attributes={key: _best(values, limit) for key, values in attributes.items()},
            sure=_sure(levels, attributes, shown, known) if shown in known.categories else None,
            box=product.box,
            timings=timings,
        )
        return Voted(prediction, nearest)

    def warm_up(self) -> None:
        """Embed the published build's labels now. Raises IndexUnavailableError while no build is published."""
        self._published_labels()

    def _published_labels(self) -> _Labels:
        with self._live.index() as index, self._lock:
            if self._labels is None or self._labels.build != index.manifest.build:
                self._labels = self._read_labels(index)
            return self._labels

    def _read_labels(self, index: Index) -> _Labels:
        categories = _path_ends(index.facets("category", Filters(), MAX_CATEGORIES))
        values = {
            key: [facet.value for facet in index.facets(key, Filters(), MAX_VALUES_PER_KEY)]
            for key in index.manifest.attribute_keys
        }
        texts = {key: [f"{key}: {value}" for value in values[key]] for key in values}
        known = self._vectors
        self._vectors = {
            **self._embed(categories, "category", known),
            **self._embed([text for key in texts for text in texts[key]], "attribute", known),
        }
        return _Labels(
            build=index.manifest.build,
            categories=self._label_set(categories, categories, "category"),
            attributes={
                key: labels for key in values if (labels := self._label_set(values[key], texts[key], "attribute"))
            },
        )

    def _embed(
        self, texts: list[str], segment: Segment, known: dict[tuple[Segment, str], NDArray[np.float32]]
    ) -> dict[tuple[Segment, str], NDArray[np.float32]]:
        new = [text for text in texts if (segment, text) not in known]
        embedded = dict(zip(new, self._embedder.embed_labels(new, segment), strict=True)) if new else {}
        return {(segment, text): embedded[text] if text in embedded else known[segment, text] for text in texts}

    def _label_set(self, labels: list[str], texts: list[str], segment: Segment) -> _LabelSet | None:
        if not labels:
            return None
        return _LabelSet(labels, np.stack([self._vectors[segment, text] for text in texts]))


def _probabilities(
    labels: _Labels, vector: NDArray[np.float32], nearest: list[Hit], shown: Evidence, calibration: Calibration
) -> tuple[list[dict[str, float]], dict[str, dict[str, float]]]:
    """Probabilities by category per level, root first, and by value per attribute key."""
    levels: list[dict[str, float]] = []
    if labels.categories:
        paths = [[_path(hit.product)] for hit in nearest]
        levels = _levels(labels.categories.probabilities(vector, nearest, paths, calibration.category(shown)))
    attributes = {}
    for key, values in labels.attributes.items():
        carried = [hit.product.attributes.get(key, []) for hit in nearest]
        attributes[key] = values.probabilities(vector, nearest, carried, calibration.attribute(shown, key))
    return levels, attributes


def _sure(
    levels: list[dict[str, float]], attributes: dict[str, dict[str, float]], shown: Evidence, calibration: Calibration
) -> Sure:
    """What is sure; a level only below sure ones."""
    how = calibration.category(shown)
    own = (how.is_sure(max(level.values()), depth) for depth, level in enumerate(levels))
    return Sure(
        categories=list(accumulate(own, and_)),
        attributes={
            key: calibration.attribute(shown, key).is_sure(max(values.values())) for key, values in attributes.items()
        },
    )


def _path(product: Product) -> str:
    return CATEGORY_SEPARATOR.join(product.category)


def _path_ends(facets: list[FacetValue]) -> list[str]:
    """The categories that some product ends at: those that count more products than their children together."""
    inside: dict[str, int] = {}
    for facet in facets:
        parent = facet.value.rpartition(CATEGORY_SEPARATOR)[0]
        inside[parent] = inside.get(parent, 0) + facet.count
    return [facet.value for facet in facets if facet.count > inside.get(facet.value, 0)]


def _levels(probabilities: dict[str, float]) -> list[dict[str, float]]:
    """The probability of every category per level, root first: what ends at it plus what ends below it."""
    levels: list[dict[str, float]] = []
    for category, probability in probabilities.items():
        for depth, ancestor in enumerate(category_levels(category.split(CATEGORY_SEPARATOR))):
            if depth == len(levels):
                levels.append({})
            levels[depth][ancestor] = levels[depth].get(ancestor, 0.0) + probability
    return levels


def _best(probabilities: dict[str, float], limit: int) -> list[Candidate]:
    ranked = sorted(probabilities.items(), key=lambda item: item[1], reverse=True)
    return [Candidate(label=label, probability=min(probability, 1.0)) for label, probability in ranked[:limit]]


def _crop(image: Image, box: Box) -> Image:
    x0, y0, x1, y1 = box
    return image.crop((math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)))
