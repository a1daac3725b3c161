from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.calibration import (
    CATEGORY,
    FILE,
    UNCALIBRATED,
    Calibration,
    Competition,
    Thresholds,
    evidence,
    probabilities,
    read_calibration,
    shares,
    softmax,
)
from app.errors import ModelError
from app.moon.fingerprint import NOTES
from app.schema import Query
from app.search import SearchEngine
from app.serving import Service

CALIBRATION = Calibration(
    fingerprint="colour-words-1",
    designs=("0a1b2c3d4e",),
    categories={"photo": Competition(temperature=0.03, vote=0.2, sure=(0.6, 0.7))},
    attributes={
        "photo": {"": Competition(temperature=0.1, vote=0.5), "color": Competition(temperature=0.02, vote=0.1)}
    },
    search={"text": Thresholds(best=0.7, related=0.4)},
)
SIMILARITIES = st.floats(-1, 1, width=32)


def joined(
    labels: list[float], near: list[float], carried: list[list[str]], how: Competition = CATEGORY
) -> list[float]:
    """Of the labels a, b and so on."""
    columns = {name: column for column, name in enumerate("abcdefg"[: len(labels)])}
    return probabilities(np.array(labels), np.array(near), shares(columns, carried), how).tolist()


@given(
    arrays(np.float32, 5, elements=SIMILARITIES),
    arrays(np.float32, 3, elements=SIMILARITIES),
    st.lists(st.lists(st.sampled_from("abcdez"), unique=True), min_size=3, max_size=3),
    st.floats(0.01, 1),
    st.floats(0, 1),
)
def test_probabilities_add_up_to_one(labels, near, carried, temperature, vote):
    found = joined(list(labels), list(near), carried, Competition(temperature=temperature, vote=vote))
    assert sum(found) == pytest.approx(1)
    assert min(found) >= 0


@given(arrays(np.float32, 5, elements=SIMILARITIES), st.floats(0.01, 1))
def test_the_nearer_label_is_never_the_less_probable_one(similarities, temperature):
    found = softmax(similarities, temperature)
    assert (np.diff(found[np.argsort(similarities)]) >= 0).all()


def test_neighbours_decide_where_labels_are_alike_and_change_nothing_where_one_is_sure():
    neighbours = [0.9, 0.8, 0.85, 0.99], [["b"], ["b"], ["a"], ["unknown"]]
    assert np.argmax(joined([0.4, 0.399, 0.399], *neighbours)) == 1
    assert np.argmax(joined([0.7, 0.3, 0.3], *neighbours)) == 0


@pytest.mark.parametrize(("near", "carried"), [([0.9], [["unknown"]]), ([], [])])
def test_without_neighbours_of_known_labels_labels_decide_alone(near, carried):
    assert joined([0.4, 0.6], near, carried) == pytest.approx(softmax(np.array([0.4, 0.6]), 0.05).tolist())


def test_many_products_at_once_are_as_one_by_one():
    rng = np.random.default_rng(0)
    similarities, near = rng.uniform(-1, 1, (4, 3)), rng.uniform(-1, 1, (4, 2))
    carried = shares({"a": 0, "b": 1, "c": 2}, [["a"], ["b", "c"], ["z"], [], ["c"], ["a", "z"], [], []]).reshape(
        4, 2, 3
    )
    together = probabilities(similarities, near, carried, CATEGORY)
    alone = [probabilities(*one, CATEGORY) for one in zip(similarities, near, carried, strict=True)]
    assert together == pytest.approx(np.stack(alone))


def test_levels_below_the_last_threshold_take_that_one():
    how = Competition(temperature=0.05, vote=0, sure=(0.5, None, 0.9))
    assert [how.is_sure(0.8, level) for level in range(5)] == [True, False, False, False, False]
    assert how.is_sure(0.95, 7)
    assert not CATEGORY.is_sure(1.0)


@given(st.lists(st.floats(-1, 1), min_size=2).map(sorted))
def test_a_higher_score_is_never_the_worse_match(scores):
    order = ["none", "related", "best"]
    places = [order.index(CALIBRATION.search["text"].match(score)) for score in scores]
    assert places == sorted(places)


def test_scores_are_told_apart_and_without_a_best_threshold_none_is_best():
    thresholds = CALIBRATION.search["text"]
    assert [thresholds.match(score) for score in (0.39, 0.4, 0.69, 0.7)] == ["none", "related", "related", "best"]
    assert Thresholds(best=None, related=0.4).match(1.0) == "related"


def test_an_attribute_without_a_calibration_of_its_own_takes_that_of_the_others():
    assert CALIBRATION.attribute("photo", "color").temperature == 0.02
    assert CALIBRATION.attribute("photo", "room").temperature == 0.1
    assert CALIBRATION.attribute("text", "room") == UNCALIBRATED.attribute("photo", "color")


@pytest.mark.parametrize(("text", "photo", "kind"), [("a", None, "text"), ("", "x", "photo"), ("a", "x", "both")])
def test_evidence_is_told_by_what_is_shown(text, photo, kind):
    assert evidence(text, photo) == kind


def test_what_is_written_is_read(tmp_path):
    (tmp_path / FILE).write_text(CALIBRATION.model_dump_json())
    assert read_calibration(tmp_path, "colour-words-1") == CALIBRATION


def test_a_model_without_the_file_is_uncalibrated(tmp_path):
    assert read_calibration(tmp_path, "colour-words-1") is UNCALIBRATED


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 2}, "version: Input should be 1"),
        ({"search": {"text": {"best": "high", "related": 0}}}, "search.text.best"),
        ({"later": 1}, "later: Extra inputs"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_is_wrong_and_what_to_do(tmp_path, change, problem):
    (tmp_path / FILE).write_text(json.dumps(CALIBRATION.model_dump(mode="json") | change))
    with pytest.raises(ModelError, match=problem) as error:
        read_calibration(tmp_path, "colour-words-1")
    assert "trainer calibrate" in str(error.value)


def test_a_broken_file_says_so(tmp_path):
    (tmp_path / FILE).write_text('{"version": 1')
    with pytest.raises(ModelError, match=r"the file: Invalid JSON.*delete it"):
        read_calibration(tmp_path, "colour-words-1")


def test_a_calibration_of_other_vectors_is_left_aside_with_a_warning(tmp_path, caplog):
    (tmp_path / FILE).write_text(CALIBRATION.model_dump_json())
    with caplog.at_level(logging.WARNING):
        assert read_calibration(tmp_path, "other-weights") is UNCALIBRATED
    assert "run `trainer calibrate`" in caplog.text


def test_vectors_do_not_depend_on_it():
    assert FILE in NOTES


def test_hits_carry_their_match_level(published, settings, embedder):
    scores = [hit.score for hit in published.engine.search(Query("red chair")).hits]
    thresholds = Thresholds(best=scores[0], related=scores[2])
    engine = SearchEngine(
        embedder, published.live, settings, CALIBRATION.model_copy(update={"search": {"text": thresholds}})
    )
    found = engine.search(Query("red chair"))
    assert [hit.match for hit in found.hits] == [thresholds.match(score) for score in scores]
    assert {hit.match for hit in found.hits} == {"best", "related", "none"}
    assert found.matched


def test_a_query_unlike_anything_says_so(published, settings, embedder):
    nothing = CALIBRATION.model_copy(update={"search": {"text": Thresholds(best=None, related=1.0)}})
    found = SearchEngine(embedder, published.live, settings, nothing).search(Query("flight to Paris"))
    assert found.hits
    assert found.matched is False


@pytest.mark.parametrize("text", ["", "in blue"])
def test_a_search_from_a_stored_vector_has_no_match_level(published, settings, embedder, text):
    every = dict.fromkeys(("text", "photo", "both"), Thresholds(best=-1.0, related=-1.0))
    engine = SearchEngine(embedder, published.live, settings, CALIBRATION.model_copy(update={"search": every}))
    assert engine.search(Query("in blue")).matched
    found = engine.search(Query(text), like="red-sofa")
    assert [hit.match for hit in found.hits] == [None] * len(found.hits)
    assert found.matched is None


def test_without_a_calibration_matches_are_unknown(published: Service):
    found = published.engine.search(Query("red chair"))
    assert (found.hits[0].match, found.matched) == (None, None)
