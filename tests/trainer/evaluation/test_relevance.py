from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from colour_model import tiny_shop

from trainer.data.record import Item, Picture, Record
from trainer.evaluation.benchmark import prepare
from trainer.evaluation.relevance import RightAnswers
from trainer.evaluation.search import top_k

PLAIN = Item("a", "Red Chair", (Picture("a.png"),), group="g")
ITEMS = [
    PLAIN,
    Item("b", "other", group="g"),
    Item("c", "red chair!"),
    Item("d", "another", (Picture("d.png"), Picture("a.png"))),
    Item("e", "none", answers=("kind:chair", "kind:seat")),
    Item("f", "bought too"),
    Item("g", ""),
]


def right(tmp_path, record: Record, wide: bool = False) -> set[str]:
    benchmark = prepare(tiny_shop(tmp_path, ITEMS, [dataclasses.replace(record, split="test")]))
    answers = benchmark.duplicate_aware if wide else benchmark.strict
    hits = answers.hits(np.array([0]), np.arange(len(ITEMS))[None])
    return {item.id for item, hit in zip(ITEMS, hits[0], strict=True) if hit}


def test_strictly_right_is_the_product_bought(tmp_path):
    assert right(tmp_path, Record("a", "chair")) == {"a"}


def test_products_bought_for_the_same_query_are_right(tmp_path):
    assert right(tmp_path, Record("a", "chair", also_right=("f", "unknown"))) == {"a", "f"}


def test_what_answers_the_meaning_is_right(tmp_path):
    assert right(tmp_path, Record("a", "chair", meaning="kind:chair")) == {"a", "e"}


def test_duplicates_share_group_title_or_picture(tmp_path):
    assert right(tmp_path, Record("a", "chair"), wide=True) == {"a", "b", "c", "d"}


def test_missing_groups_and_titles_are_no_duplicates(tmp_path):
    assert right(tmp_path, Record("g", "nothing"), wide=True) == {"g"}
    assert right(tmp_path, Record("f", "nothing"), wide=True) == {"f"}


def test_counts_are_distinct_right_answers_among_known_places():
    answers = RightAnswers(4, [(np.array([0]), np.array([0, 2])), (np.array([3]),)])
    assert answers.counts(np.ones(4, dtype=bool)).tolist() == [2, 1]
    assert answers.counts(np.array([True, True, False, False])).tolist() == [1, 0]


@pytest.mark.parametrize("queries", [1, 255, 600])
def test_many_queries_are_judged_as_one_by_one(queries):
    rng = np.random.default_rng(queries)
    wanted = [rng.choice(50, rng.integers(0, 5), replace=False) for _ in range(queries)]
    vectors = rng.normal(size=(queries, 4)).astype(np.float32)
    found, _ = top_k(vectors, rng.normal(size=(50, 4)).astype(np.float32), 7)
    hits = RightAnswers(50, [(own,) for own in wanted]).hits(np.arange(queries), found)
    assert hits.tolist() == [[place in own for place in row] for row, own in zip(found, wanted, strict=True)]
