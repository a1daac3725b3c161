from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.metrics import Score
from trainer.evaluation.scores import FUSED, LEXICAL, LOCAL_LEXICAL, MOON, VISION, Scorer
from trainer.evaluation.targets import Target, spreads, targets

PHOTO = ("customer photo", "whole photo, box by the model's detector", "same model R@1")
JOINT, PHOTO_ALONE, TEXT_ALONE = "photo, true box and text", "photo and true box alone", "text alone"


def share(right: int, of: int = 10) -> np.ndarray:
    """Values of queries of which the first so many are right."""
    return np.array([1.0] * right + [0.0] * (of - right))


@pytest.fixture
def measured(home):
    """The targets from rows that a test adds; the composed queries are always there."""

    def make(*rows, joint=6, photo=4, text=2) -> dict[str, Target]:
        scorer = Scorer(seed=0)
        for query, right in ((JOINT, joint), (PHOTO_ALONE, photo), (TEXT_ALONE, text)):
            scorer.add("photo + text", query, "exact SKU R@1", {MOON: share(right)})
        for section, query, metric, values in rows:
            scorer.add(section, query, metric, values)
        return {target.measure: target for target in targets(scorer, home)}

    return make


@pytest.mark.parametrize(("right", "met"), [(7, False), (8, True)])
def test_a_value_meets_its_target_from_the_target_on(measured, right, met):
    target = measured((*PHOTO, {MOON: share(right), VISION: share(5)}))[
        "customer photo, box by the model: same model R@1"
    ]
    assert (target.met, target.wanted, target.n) == (met, 0.80, 10)
    assert target.beside[VISION].value == 0.5


@pytest.mark.parametrize(("photo", "text", "lead", "met"), [(4, 2, 0.2, True), (2, 5, 0.1, False)])
def test_composed_queries_are_to_lead_over_the_better_half(measured, photo, text, lead, met):
    found = measured(joint=6, photo=photo, text=text)
    target = found["the same, minus the better of photo alone and text alone"]
    assert target.value.value == pytest.approx(lead)
    assert target.met == met
    assert found['photo + "the same in <colour>": exact SKU R@1'].met


def phrases(moon: float, bm25: float, note: str):
    values = {MOON: np.full(5, moon), LEXICAL: np.full(5, bm25), LOCAL_LEXICAL: np.full(5, bm25)}
    return "text", f"en synonym and use case, {note}", "nDCG@10", values


@pytest.mark.parametrize(
    ("moon", "met_seen", "met_unseen"), [(0.79, False, True), (0.8, True, True), (0.5, False, False)]
)
def test_phrases_are_measured_in_multiples_of_bm25(measured, moon, met_seen, met_unseen):
    found = measured(phrases(moon, 0.4, "seen in training"), phrases(moon, 0.4, "never seen"))
    seen, unseen = [target for measure, target in found.items() if "multiple" in measure]
    assert seen.value.value == pytest.approx(moon / 0.4)
    assert (seen.met, unseen.met) == (met_seen, met_unseen)
    assert seen.beside.keys() == {MOON, LEXICAL}


def graded(query: str, **values: float):
    systems = {"moon": MOON, "bm25": LEXICAL, "all": LOCAL_LEXICAL, "fused": FUSED}
    return "text", query, "nDCG@10", {systems[name]: np.full(4, own) for name, own in values.items()}


def test_the_fused_search_is_judged_on_its_worst_type_and_names_all_that_miss(measured):
    found = measured(
        graded("en name", moon=0.5, bm25=0.9, all=0.8, fused=0.95),
        graded("de name", moon=0.5, bm25=0.0, all=0.8, fused=0.75),
        graded("en synonym", moon=0.7, bm25=0.4, all=0.4, fused=0.69),
        graded("en synonym and use case", moon=0.7, bm25=0.4, all=0.4, fused=0.1),
    )
    (target,) = [target for measure, target in found.items() if measure.startswith("MOON + BM25")]
    assert target.value.value == pytest.approx(-0.05)
    assert not target.met
    assert target.note == "de name -0.050; en synonym -0.010"


def test_without_a_fused_search_there_is_no_such_target(measured):
    assert not [measure for measure in measured() if "MOON + BM25" in measure]


def target(value: float, wanted: float = 0.5) -> Target:
    return Target("photo", wanted, Score(value, value, value), value >= wanted, 9, {})


def test_checkpoints_together_have_a_mean_and_a_t_interval():
    (spread,) = spreads([[target(0.4)], [target(0.5)], [target(0.6)]])
    half = 4.3027 * 0.1 / 3**0.5
    assert spread.values == [0.4, 0.5, 0.6]
    assert (spread.mean.value, spread.mean.low, spread.mean.high) == pytest.approx(
        (0.5, 0.5 - half, 0.5 + half), abs=1e-4
    )
    assert spread.met


def test_one_checkpoint_has_no_spread():
    assert spreads([[target(0.4)]]) == []
