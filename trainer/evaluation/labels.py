"""Classification and attribute prediction by label embedding: argmax over labels of sim(f(product), f(label)) (paper).

Products are shown by pictures and title. Neither category nor attributes are fed, for either task (the paper's trap is
the label itself; leaving both out for both is ours: one embedding, and what a new product has).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from trainer.evaluation.benchmark import CATEGORY_LEVEL, Benchmark
from trainer.evaluation.contents import View
from trainer.evaluation.embed import Embedded
from trainer.evaluation.metrics import DEPTH, bootstrap
from trainer.evaluation.models.base import EmbeddingModel
from trainer.evaluation.results import Prediction
from trainer.evaluation.search import top_k

CATEGORY, ATTRIBUTES = f"category to level {CATEGORY_LEVEL}", "all attributes"
TOP_1, TOP_10 = "top-1", f"top-{DEPTH}"


def predictions(
    model: EmbeddingModel,
    benchmark: Benchmark,
    products: Mapping[View, Embedded],
    *,
    seed: int,
    batch_size: int,
    device: str = "cpu",
) -> list[Prediction]:
    """Classification under both rules, then attributes over all keys, then each key, most products first.

    Labels are those of the gallery's products. Tasks without labels are left out.
    """
    shown = products["unlabelled"]
    predictor = _Predictor(model, shown.vectors, seed, batch_size, device)
    places = [int(place) for place in benchmark.classified if shown.known[place]]
    truth = {place: (benchmark.labels[place],) for place in places if benchmark.labels[place]}
    found: list[Prediction] = []
    if truth:
        labels = sorted(set(filter(None, benchmark.labels)))
        for rule, chosen in predictor.predict(labels, truth, "category").items():
            found.append(predictor.measured(CATEGORY, rule, len(labels), *chosen))
    return found + _attributes(predictor, benchmark, places)


def _attributes(predictor: _Predictor, benchmark: Benchmark, places: Sequence[int]) -> list[Prediction]:
    """Only over keys that a product has; any of its values of the key is right."""
    values: dict[str, set[str]] = defaultdict(set)
    for attributes in benchmark.values:
        for key, named in attributes.items():
            values[key].update(named)
    found: list[Prediction] = []
    all_truths, all_chosen = [], []
    for key, labels in values.items():
        truth = {place: own for place in places if (own := benchmark.values[place].get(key))}
        if truth:
            right = {place: tuple(f"{key}: {value}" for value in own) for place, own in truth.items()}
            texts = sorted(f"{key}: {value}" for value in labels)
            truths, chosen = predictor.predict(texts, right, "attribute")[TOP_1]
            found.append(predictor.measured(key, TOP_1, len(labels), truths, chosen))
            all_truths += truths
            all_chosen += chosen
    if not found:
        return []
    total = sum(len(labels) for labels in values.values())
    found.sort(key=lambda prediction: (-prediction.n, prediction.task))
    return [predictor.measured(ATTRIBUTES, TOP_1, total, all_truths, all_chosen), *found]


class _Predictor:
    """Lets labels compete for products, whose vectors are (places, dimensions)."""

    def __init__(
        self, model: EmbeddingModel, vectors: NDArray[np.float32], seed: int, batch_size: int, device: str
    ) -> None:
        self._model, self._vectors, self._seed = model, vectors, seed
        self._batch_size, self._device = batch_size, device

    def predict(
        self, labels: Sequence[str], truth: Mapping[int, Sequence[str]], segment: str
    ) -> dict[str, tuple[list[str], list[str]]]:
        """True and predicted label per product and rule; ``truth`` holds the right labels by place, any is right.

        Top-1: the nearest label. Top-10 (paper): the truth if it is among the ten nearest, else the nearest. Of several
        right labels the true one is the best ranked that was found, else the first.
        """
        starts = range(0, len(labels), self._batch_size)
        parts = [self._model.embed_labels(labels[s : s + self._batch_size], segment) for s in starts]  # type: ignore[arg-type]
        rows, _ = top_k(self._vectors[list(truth)], np.concatenate(parts), DEPTH, device=self._device)
        found: dict[str, tuple[list[str], list[str]]] = {TOP_1: ([], []), TOP_10: ([], [])}
        for ranking, right in zip(rows, truth.values(), strict=True):
            names = [labels[row] for row in ranking]
            for rule, depth in ((TOP_1, 1), (TOP_10, DEPTH)):
                hit = next((name for name in names[:depth] if name in right), None)
                found[rule][0].append(hit or right[0])
                found[rule][1].append(hit or names[0])
        return found

    def measured(self, task: str, rule: str, labels: int, truth: Sequence[str], chosen: Sequence[str]) -> Prediction:
        """Accuracy with its interval, and macro averages over the classes that are true or predicted."""
        right = np.array([a == b for a, b in zip(truth, chosen, strict=True)], dtype=np.float64)
        precision, recall, f1, _ = precision_recall_fscore_support(truth, chosen, average="macro", zero_division=0)
        accuracy = bootstrap(right, self._seed)
        return Prediction(task, rule, len(truth), labels, accuracy, float(precision), float(recall), float(f1))
