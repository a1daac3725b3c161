from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from trainer.data.record import MODALITIES
from trainer.evaluation.embed import Embedded
from trainer.evaluation.protocol import retrieval
from trainer.evaluation.relevance import RightAnswers

ITEMS = 12


def view(rows: list[list[float]], known: list[bool] | None = None) -> Embedded:
    vectors = np.array(rows, dtype=np.float32)
    return Embedded(vectors, np.ones(len(rows), dtype=bool) if known is None else np.array(known))


def one_hot(rows: list[int]) -> list[list[float]]:
    return np.eye(ITEMS)[rows].tolist()


def ladder(best: list[int]) -> list[list[float]]:
    """A query's similarity to each of the one-hot products, by the order in which they shall be found."""
    scores = np.zeros(ITEMS)
    scores[best] = np.linspace(1, 0.1, len(best))
    return scores.tolist()


def benchmark(strict, wide=None, data_format="shop", tops=("Home", "Garden", "Home")):
    return SimpleNamespace(
        corpus=SimpleNamespace(info={"format": data_format}),
        queries=np.arange(len(strict)),
        strict=RightAnswers(ITEMS, [(np.array(own),) for own in strict]),
        duplicate_aware=RightAnswers(ITEMS, [(np.array(own),) for own in wide or strict]),
        tops=tops,
    )


@pytest.fixture
def products():
    return {modality: view(one_hot(list(range(ITEMS)))) for modality in MODALITIES}


@pytest.fixture
def queries():
    """The first query finds 4, 7, 2 ...; the second 1, 2, 3 ...; the third finds 0 first and 11 last."""
    rows = [ladder([4, 7, 2, 0, 1, 3]), ladder([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), ladder(list(range(12)))]
    return {modality: view(rows) for modality in MODALITIES}


def test_recalls_and_ndcg_equal_the_values_worked_out_by_hand(queries, products):
    cells, _ = retrieval(benchmark([[7], [1], [11]], [[4, 7], [1], [11]]), queries, products, seed=0)
    cell = next(cell for cell in cells if (cell.query, cell.target) == ("text", "both"))
    assert {k: score.value for k, score in cell.strict.items()} == pytest.approx({1: 1 / 3, 5: 2 / 3, 10: 2 / 3})
    assert {k: score.value for k, score in cell.duplicate_aware.items()} == pytest.approx(
        {1: 2 / 3, 5: 2 / 3, 10: 2 / 3}
    )
    assert cell.ndcg.value == pytest.approx((1 / math.log2(3) + 1 + 0) / 3)


def test_ndcg_of_several_right_answers_equals_the_value_worked_out_by_hand(queries, products):
    cells, _ = retrieval(benchmark([[7, 2, 9], [1], [0]]), queries, products, seed=0)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    tenth_of_equals = 1 / math.log2(11)
    first = (1 / math.log2(3) + 1 / math.log2(4) + tenth_of_equals) / ideal
    assert cells[0].ndcg.value == pytest.approx((first + 1 + 1) / 3, abs=1e-6)


def test_every_query_modality_meets_every_target_modality(queries, products):
    cells, _ = retrieval(benchmark([[7], [1], [11]]), queries, products, seed=0)
    assert [(cell.query, cell.target) for cell in cells] == [(q, t) for q in MODALITIES for t in MODALITIES]
    assert {tuple(cell.strict) for cell in cells} == {(1, 5, 10)}


def test_m5product_has_its_own_cutoffs(queries, products):
    cells, _ = retrieval(benchmark([[7], [1], [11]], data_format="m5"), queries, products, seed=0)
    cell = next(cell for cell in cells if cell.target == "both")
    assert list(cell.strict) == [10, 100, 500]
    assert cell.strict[100].value == 1.0


def test_pictures_of_fashion200k_are_searched_with_the_cutoffs_of_its_papers(queries, products):
    cells, _ = retrieval(benchmark([[7], [1], [11]], data_format="fashion200k"), queries, products, seed=0)
    cell = next(cell for cell in cells if (cell.query, cell.target) == ("text", "image"))
    assert {k: score.value for k, score in cell.strict.items()} == pytest.approx({1: 1 / 3, 10: 2 / 3, 50: 1})


def test_the_order_of_the_found_follows_rows_of_the_whole_gallery(queries, products):
    products["image"] = view(one_hot(list(range(ITEMS))), [row >= 4 for row in range(ITEMS)])
    cells, _ = retrieval(benchmark([[7], [4], [11]]), queries, products, seed=0)
    cell = next(cell for cell in cells if (cell.query, cell.target) == ("image", "image"))
    assert cell.n == 3
    assert cell.strict[10].value == 1.0


def test_queries_without_a_right_answer_of_the_target_modality_are_not_counted(queries, products):
    products["image"] = view(one_hot(list(range(ITEMS))), [row != 7 for row in range(ITEMS)])
    cells, _ = retrieval(benchmark([[7], [1], [11]]), queries, products, seed=0)
    counted = {(cell.query, cell.target): cell.n for cell in cells}
    assert (counted["text", "image"], counted["text", "both"]) == (2, 3)


def test_queries_without_the_modality_are_not_counted(queries, products):
    queries["image"] = view(queries["image"].vectors.tolist(), [True, False, False])
    queries["both"] = view(queries["both"].vectors.tolist(), [False, False, False])
    cells, _ = retrieval(benchmark([[4], [1], [11]]), queries, products, seed=0)
    assert {cell.query: cell.n for cell in cells} == {"image": 1, "text": 3}
    assert cells[0].strict[10].value == 1.0


def test_recall_by_category_has_the_largest_first(queries, products):
    queries["image"] = view(queries["image"].vectors.tolist(), [False, True, False])
    _, categories = retrieval(benchmark([[7], [1], [11]]), queries, products, seed=0)
    assert [(entry.category, entry.queries) for entry in categories] == [("Home", 2), ("Garden", 1)]
    assert categories[0].recall == {"text": 0.5, "both": 0.5}
    assert categories[1].recall == {"image": 1.0, "text": 1.0, "both": 1.0}


def test_products_without_a_category_have_no_row(queries, products):
    _, categories = retrieval(benchmark([[7], [1], [11]], tops=("", "", "")), queries, products, seed=0)
    assert categories == []
