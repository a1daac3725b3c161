"""Retrieval as the paper measures it (sim is the dot product), for every query modality and every target modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.record import MODALITIES, Modality
from trainer.evaluation.benchmark import Benchmark
from trainer.evaluation.contents import View
from trainer.evaluation.embed import Embedded
from trainer.evaluation.metrics import DEPTH, Score, bootstrap, ndcg_of_hits
from trainer.evaluation.progress import Track, silently
from trainer.evaluation.relevance import RightAnswers
from trainer.evaluation.results import CategoryRecall, Cell
from trainer.evaluation.search import Vectors, top_k

CUTOFFS = {"m5": (10, 100, 500), "fashion200k": (1, 10, 50)}
"""k of R@k by format of the data, as in the papers."""
OTHER_CUTOFFS = (1, 5, 10)


def retrieval(
    benchmark: Benchmark,
    queries: Mapping[View, Embedded],
    products: Mapping[View, Embedded],
    *,
    seed: int,
    device: str | torch.device = "cpu",
    track: Track = silently,
) -> tuple[list[Cell], list[CategoryRecall]]:
    """The 3 x 3 matrix with all cutoffs of the data, and recall by category.

    A cell counts the queries that have its query modality and a right answer that has its target modality.
    """
    cutoffs = CUTOFFS.get(str(benchmark.corpus.info.get("format")), OTHER_CUTOFFS)
    cells: list[Cell] = []
    by_category: dict[Modality, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    for query in MODALITIES:
        for target in MODALITIES:
            search = _Search(benchmark, queries[query], products[target], max(*cutoffs, DEPTH), device, track)
            if not len(search.asked):
                continue
            cells.append(search.cell(query, target, cutoffs, seed))
            if target == "both":
                by_category[query] = search.asked, search.recall(benchmark.strict, DEPTH)
    return cells, _categories(benchmark, by_category)


class _Search:
    """Rankings of the places that one view of the products has, for the queries that one view of the queries has."""

    def __init__(
        self,
        benchmark: Benchmark,
        queries: Embedded,
        products: Embedded,
        depth: int,
        device: str | torch.device,
        track: Track,
    ) -> None:
        self._benchmark = benchmark
        right = benchmark.strict.counts(products.known)
        answerable = queries.known & (right > 0)
        self.asked = np.flatnonzero(answerable)
        self._right = right[self.asked]
        if not len(self.asked):
            return
        gallery, places = _chosen(products.vectors, products.known), np.flatnonzero(products.known)
        rows, _ = top_k(_chosen(queries.vectors, answerable), gallery, depth, device=device, track=track)
        self._places = places[rows]
        self._strict = benchmark.strict.hits(self.asked, self._places)

    def recall(self, answers: RightAnswers, k: int) -> NDArray[np.float64]:
        """Per asked query, 1 if one of the ``answers`` is among the first ``k``, else 0."""
        hits = self._strict if answers is self._benchmark.strict else answers.hits(self.asked, self._places)
        return np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)

    def cell(self, query: Modality, target: Modality, ks: Sequence[int], seed: int) -> Cell:
        strict, wide = self._benchmark.strict, self._benchmark.duplicate_aware
        return Cell(
            query,
            target,
            len(self.asked),
            {k: bootstrap(self.recall(strict, k), seed) for k in ks},
            {k: bootstrap(self.recall(wide, k), seed) for k in ks},
            self._ndcg(seed),
        )

    def _ndcg(self, seed: int) -> Score:
        return bootstrap(ndcg_of_hits(self._strict, self._right, DEPTH), seed)


def _chosen(vectors: NDArray[np.float32], rows: NDArray[np.bool_]) -> Vectors:
    """Vectors of some rows; without a copy if all are chosen."""
    return vectors if rows.all() else vectors[rows]


def _categories(
    benchmark: Benchmark, found: Mapping[Modality, tuple[NDArray[np.int64], NDArray[np.float64]]]
) -> list[CategoryRecall]:
    """By top-level category of the product bought, most queries first; queries without a category are left out."""
    tops = np.array(benchmark.tops, dtype=np.str_)
    counted = {name: int((tops == name).sum()) for name in np.unique(tops) if name}
    return [
        CategoryRecall(
            str(name),
            counted[name],
            {
                modality: float(recall[own].mean())
                for modality, (asked, recall) in found.items()
                if (own := tops[asked] == name).any()
            },
        )
        for name in sorted(counted, key=lambda name: (-counted[name], name))
    ]
