from __future__ import annotations

import numpy as np
import pytest
from colour_model import WORDS, ColourModel
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.benchmark import Benchmark
from trainer.evaluation.embed import Embedded
from trainer.evaluation.labels import ATTRIBUTES, CATEGORY, TOP_1, TOP_10, predictions
from trainer.evaluation.models.base import Content


def measure(titles, labels, values=None, classified=None, known=None):
    """Predictions of products that the model sees by their titles, by task and rule."""
    model = ColourModel()
    vectors = model.embed([Content(title=title) for title in titles], is_query=False)
    shown = Embedded(vectors, np.ones(len(titles), dtype=bool) if known is None else np.array(known))
    classified = np.arange(len(titles)) if classified is None else np.array(classified)
    values = values or [{} for _ in titles]
    asked = Benchmark(None, "test", None, None, None, None, classified, labels, values, [])  # type: ignore[arg-type]
    found = predictions(model, asked, {"unlabelled": shown}, seed=0, batch_size=3)
    return {(entry.task, entry.rule): entry for entry in found}, model


def test_classification_equals_the_values_worked_out_by_hand():
    found, _ = measure(["red", "red", "green", "blue"], ["red", "green", "green", "blue"])
    entry = found[CATEGORY, TOP_1]
    assert (entry.n, entry.labels, entry.accuracy.value) == (4, 3, 0.75)
    assert entry.precision == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert entry.recall == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert entry.f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_under_the_top_10_rule_the_truth_counts_if_it_is_among_ten():
    labels = [*WORDS, *(f"{word} wood metal" for word in WORDS[:4])]
    found, _ = measure([*labels[:11], "chair table wood"], [*labels[:11], "wood"])
    assert found[CATEGORY, TOP_10].n == 12
    assert found[CATEGORY, TOP_1].accuracy.value == pytest.approx(11 / 12)
    assert found[CATEGORY, TOP_10].accuracy.value == pytest.approx(1)


def test_the_tenth_label_counts_and_the_eleventh_does_not():
    titles = [f"red {'wood ' * n}" for n in range(12)]
    found, _ = measure([*titles[1:], "red"], [*titles[1:], titles[11]])
    assert found[CATEGORY, TOP_10].accuracy.value == pytest.approx(11 / 12)
    found, _ = measure([*titles[1:], "red"], [*titles[1:], titles[10]])
    assert found[CATEGORY, TOP_10].accuracy.value == pytest.approx(1)


def test_only_products_with_a_category_are_classified_among_labels_of_all():
    found, model = measure(["red", "green", "blue"], ["red", "", "blue"], classified=[0, 1])
    assert (found[CATEGORY, TOP_1].n, found[CATEGORY, TOP_1].labels) == (1, 2)
    assert model.labels == [("blue", "category"), ("red", "category")]


def test_products_of_which_nothing_is_shown_are_left_out():
    found, _ = measure(["red", "green"], ["red", "red"], known=[True, False])
    assert (found[CATEGORY, TOP_1].n, found[CATEGORY, TOP_1].accuracy.value) == (1, 1.0)


def test_attributes_compete_within_their_key_and_any_value_of_a_product_is_right():
    values = [{"color": ("red",), "material": ("wood",)}, {"color": ("green", "blue")}, {"color": ("yellow",)}, {}]
    found, model = measure(["red chair", "blue", "red", "red"], [""] * 4, values)
    assert (CATEGORY, TOP_1) not in found
    assert (found["color", TOP_1].n, found["color", TOP_1].accuracy.value) == (3, pytest.approx(2 / 3))
    assert (found["material", TOP_1].n, found["material", TOP_1].labels) == (1, 1)
    overall = found[ATTRIBUTES, TOP_1]
    assert (overall.n, overall.labels, overall.accuracy.value) == (4, 5, 0.75)
    assert ("color: red", "attribute") in model.labels
    assert [task for task, _ in found] == [ATTRIBUTES, "color", "material"]


def test_macro_averages_over_all_attributes_treat_each_keys_values_as_classes():
    values = [{"color": ("red",), "trim": ("red",)}, {"color": ("green",), "trim": ("green",)}]
    found, _ = measure(["red", "red"], ["", ""], values)
    entry = found[ATTRIBUTES, TOP_1]
    assert entry.recall == pytest.approx((1 + 0 + 1 + 0) / 4)
    assert entry.precision == pytest.approx((1 / 2 + 0 + 1 / 2 + 0) / 4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), min_size=1, max_size=30))
def test_macro_averages_equal_a_plain_reference(pairs):
    titles, labels = zip(*pairs, strict=True)
    entry = measure(titles, labels)[0][CATEGORY, TOP_1]
    present = sorted(set(labels))
    chosen = [title if title in present else present[0] for title in titles]
    classes = sorted(set(labels) | set(chosen))
    scores = []
    for name in classes:
        hit = sum(a == b == name for a, b in zip(labels, chosen, strict=True))
        precision = hit / max(1, chosen.count(name))
        recall = hit / max(1, labels.count(name))
        scores.append((precision, recall, 2 * precision * recall / (precision + recall) if hit else 0.0))
    assert (entry.precision, entry.recall, entry.f1) == pytest.approx(tuple(np.mean(scores, axis=0)))
