from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.metrics import bootstrap, bootstrap_ratio, ndcg, rank, recall


def test_rank_orders_by_similarity_and_keeps_the_order_of_ties():
    similarities = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.7]])
    assert rank(similarities).tolist() == [[1, 2, 0], [2, 0, 1]]
    assert rank(similarities, depth=1).tolist() == [[1], [2]]


def test_recall_counts_a_relevant_item_among_the_first_k():
    rankings = np.array([[3, 1, 2], [4, 5, -1]])
    relevant = [{2, 9}, {4}]
    assert recall(rankings, relevant, 1).tolist() == [0, 1]
    assert recall(rankings, relevant, 3).tolist() == [1, 1]


def test_ndcg_equals_the_value_computed_by_hand():
    rankings = np.array([[7, 1, 8, 2]])
    found = 1 / math.log2(3) + 1 / math.log2(5)
    best = 1 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(rankings, [{1, 2, 3}], 4)[0] == pytest.approx(found / best)
    assert ndcg(np.array([[1, 2]]), [{1, 2, 3, 4}], 2)[0] == 1.0
    assert ndcg(np.array([[-1, -1]]), [{1}], 2)[0] == 0.0


def plain_ndcg(ranking: list[int], relevant: set[int], k: int) -> float:
    gain = sum(1 / math.log2(place + 2) for place, item in enumerate(ranking[:k]) if item in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(k, len(relevant))))


@given(st.permutations(range(14)), st.sets(st.integers(0, 20), min_size=1), st.integers(1, 10))
def test_metrics_equal_a_plain_reference(order, relevant, k):
    rankings = np.array([order[:10]])
    assert ndcg(rankings, [relevant], k)[0] == pytest.approx(plain_ndcg(order, relevant, k))
    assert recall(rankings, [relevant], k)[0] == bool(set(order[:k]) & relevant)


def test_bootstrap_interval_is_repeatable_and_as_wide_as_theory_says():
    values = np.repeat([0.0, 1.0], [120, 280])
    score = bootstrap(values, seed=3)
    assert score == bootstrap(values, seed=3)
    assert score.value == pytest.approx(0.7)
    half = 1.96 * math.sqrt(0.7 * 0.3 / 400)
    assert score.value - score.low == pytest.approx(half, rel=0.15)
    assert score.high - score.value == pytest.approx(half, rel=0.15)


def test_bootstrap_of_equal_values_has_no_width_and_none_is_an_error():
    score = bootstrap([1.0, 1.0], seed=0)
    assert (score.value, score.low, score.high) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="no values"):
        bootstrap([], seed=0)


def test_a_ratio_of_pairs_is_narrower_than_of_values_that_have_nothing_to_do_with_each_other():
    others = np.random.default_rng(0).uniform(0.1, 0.9, 300)
    paired, shuffled = bootstrap_ratio(2 * others, others, seed=1), bootstrap_ratio(2 * others[::-1], others, seed=1)
    assert paired.value == pytest.approx(2.0)
    assert paired.high - paired.low == pytest.approx(0.0, abs=1e-9)
    assert shuffled.value == pytest.approx(2.0)
    assert shuffled.high - shuffled.low > 0.1


def test_a_ratio_to_nothing_is_finite():
    assert math.isfinite(bootstrap_ratio([0.5, 1.0], [0.0, 0.0], seed=0).high)
