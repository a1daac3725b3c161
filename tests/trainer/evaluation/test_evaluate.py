from __future__ import annotations

import json

import numpy as np
import pytest

from app.errors import BadInputError, ModelError
from app.settings import Settings
from trainer.data.home import HomeSet
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.home import evaluate, targets
from trainer.evaluation.metrics import Score
from trainer.evaluation.tasks import CENTRE, LEXICAL, MOON, VISION, Row, Scorer, mixed_rows, photo_rows, text_rows


@pytest.fixture(scope="module")
def settings(checkpoint):
    return Settings(_env_file=None, model=str(checkpoint), device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def evaluation(settings, home_folder):
    return evaluate(settings, home_folder, seed=4)


def scores(rows, section: str, query: str, metric: str) -> dict[str, Score]:
    return next(row.scores for row in rows if (row.section, row.query, row.metric) == (section, query, metric))


def test_every_task_is_measured_beside_its_baselines(evaluation):
    rows = evaluation.rows
    assert [*dict.fromkeys(row.section for row in rows)] == [
        "customer photo",
        "core product",
        "item query",
        "text",
        "photo + text",
        "prediction",
    ]
    assert {MOON, VISION} == set(scores(rows, "customer photo", "whole photo and true box", "same model R@1"))
    assert {MOON, CENTRE} == set(scores(rows, "core product", "box by the model's detector", "mean IoU with true box"))
    assert {MOON, LEXICAL} == set(scores(rows, "text", "en name", "R@10"))
    texts = [row.query for row in rows if row.section == "text" and row.metric == "R@10"]
    assert texts == ["en name", "en colour+name", "en synonym, seen in training", "en synonym, never seen", "de name"]


def test_rows_count_only_queries_of_held_out_designs(evaluation):
    sizes = {(row.section, row.query): row.n for row in evaluation.rows}
    assert sizes["customer photo", "whole photo and true box"] == 8
    assert sizes["text", "en synonym, never seen"] == 4
    assert sizes["photo + text", "text alone"] == 4
    assert sizes["prediction", "picture alone"] in (2, 4)


def test_intervals_hold_their_values(evaluation):
    for row in evaluation.rows:
        for score in row.scores.values():
            assert 0 <= score.low <= score.value + 1e-9
            assert score.value <= score.high + 1e-9 <= 1 + 2e-9


def test_lexical_search_finds_titles_and_no_translations(evaluation):
    assert scores(evaluation.rows, "text", "en colour+name", "nDCG@10")[LEXICAL].value == 1.0
    assert scores(evaluation.rows, "text", "de name", "R@10")[LEXICAL].value == 0.0


def test_the_same_seed_measures_the_same(evaluation, settings, home_folder):
    again = evaluate(settings, home_folder, seed=4)
    assert again.rows == evaluation.rows


def test_the_record_names_model_versions_machine_and_time(evaluation, settings):
    record = json.loads(json.dumps(evaluation.to_dict()))
    assert record["setup"]["products"] == 16
    assert record["setup"]["seed"] == 4
    assert record["setup"]["versions"].keys() >= {"torch", "moon-search"}
    assert record["setup"]["cores"] >= 1
    assert record["setup"]["seconds"] > 0
    assert record["rows"][0]["scores"]["MOON"].keys() == {"value", "low", "high"}


def test_a_checkpoint_that_knows_the_test_split_is_refused(settings, home_folder, checkpoint, tmp_path):
    for file in checkpoint.iterdir():
        (tmp_path / file.name).symlink_to(file)
    record = {"splits": {"trained": {"splits": ["test"], "designs": ""}}}
    (tmp_path / "training.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="has not seen the test split"):
        evaluate(settings.model_copy(update={"model": str(tmp_path)}), home_folder)


def test_a_folder_without_the_set_is_named(settings, tmp_path):
    with pytest.raises(BadInputError, match=r"holds no catalog\.parquet"):
        evaluate(settings, tmp_path)


def row(section: str, query: str, metric: str, **values: float) -> Row:
    return Row(section, query, metric, 9, {name.replace("_", " "): Score(v, v, v) for name, v in values.items()})


@pytest.mark.parametrize(
    ("photo", "raw", "name", "passed"),
    [
        (0.55, 0.54, 0.80, [True, True, True]),
        (0.54, 0.54, 0.79, [False, False, False]),
        (0.60, 0.70, 0.90, [True, False, True]),
    ],
)
def test_targets_follow_from_the_measured_numbers(photo, raw, name, passed):
    rows = [
        row("customer photo", "whole photo, box by the model's detector", "same model R@1", MOON=photo, raw_vision=raw),
        row("text", "en name", "R@10", MOON=name, BM25=1.0),
    ]
    assert [target.passed for target in targets(rows)] == passed


@pytest.fixture
def gallery(home_folder, embedder, settings):
    return Gallery(HomeSet(home_folder), embedder, None, settings)


def test_text_rows_reward_what_the_words_name(gallery):
    scorer = Scorer(seed=0)
    text_rows(gallery, scorer)
    assert scores(scorer.rows, "text", "en colour+name", "nDCG@10")[MOON].value > 0.8
    assert scores(scorer.rows, "text", "en name", "R@10")[MOON].value == 1.0


def test_mixed_rows_tell_the_wished_colour_from_the_photos_own(gallery):
    scorer = Scorer(seed=0)
    mixed_rows(gallery, scorer)
    assert scores(scorer.rows, "photo + text", "photo and true box alone", "exact SKU R@1").keys() == {MOON}
    right = scores(scorer.rows, "photo + text", "text alone", "exact SKU R@1")[MOON].value
    wrong = scores(scorer.rows, "photo + text", "text alone", "photo's own SKU on top (wrong)")[MOON].value
    assert right + wrong <= 1.0


def test_a_detector_without_boxes_scores_as_the_whole_photo(gallery):
    scorer = Scorer(seed=0)
    photo_rows(gallery, scorer)
    box = scores(scorer.rows, "core product", "box by the model's detector", "mean IoU with true box")
    assert box[MOON].value < box[CENTRE].value


def test_the_gallery_is_read_anew_for_every_evaluation(gallery, embedder):
    before = embedder.embedded_products
    again = Gallery(gallery.home, embedder, None, gallery.settings)
    assert embedder.embedded_products == before + 16
    assert np.array_equal(again.nearest(np.eye(64)[:1]), gallery.nearest(np.eye(64)[:1]))
