"""What an evaluation measures, as data: the terminal, the JSON file and the page show the same objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trainer.data.record import Modality
from trainer.evaluation.home import Evaluation
from trainer.evaluation.metrics import Score
from trainer.evaluation.published import Published
from trainer.evaluation.targets import Spread


@dataclass(frozen=True)
class Cell:
    """Retrieval of one query modality against one target modality over ``n`` queries.

    ``strict`` and ``duplicate_aware`` are R@k by k (see :mod:`trainer.evaluation.relevance`); nDCG@10 is strict.
    """

    query: Modality
    target: Modality
    n: int
    strict: Mapping[int, Score]
    duplicate_aware: Mapping[int, Score]
    ndcg: Score


@dataclass(frozen=True)
class CategoryRecall:
    """Strict R@10 of the queries whose product is of a top-level category, by query modality (full products)."""

    category: str
    queries: int
    recall: Mapping[Modality, float]


@dataclass(frozen=True)
class Prediction:
    """Prediction by label embedding under one rule: accuracy, and means over classes as scikit-learn defines them."""

    task: str
    rule: str
    n: int
    labels: int
    accuracy: Score
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ModelResult:
    """All numbers of one model. ``left_out`` counts queries and products of which nothing could be embedded.

    ``broken`` says of every picture that could not be read why.
    """

    name: str
    family: str
    version: str
    dimensions: int
    cells: list[Cell]
    categories: list[CategoryRecall]
    predictions: list[Prediction]
    left_out: Mapping[str, int]
    broken: list[str]
    seconds: float

    def cell(self, query: Modality, target: Modality) -> Cell | None:
        """The cell of the matrix, None if no query has this modality or no product that one."""
        return next((cell for cell in self.cells if (cell.query, cell.target) == (query, target)), None)


@dataclass(frozen=True)
class Comparison:
    """Models side by side on one benchmark; ``published`` is quoted from papers and was not measured.

    ``home`` holds the tasks of the home-goods set by MOON checkpoint, if that set was the data, ``spreads`` its targets
    over several of them.
    """

    setup: dict[str, Any]
    models: list[ModelResult]
    published: list[Published]
    home: dict[str, Evaluation]
    spreads: list[Spread] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
