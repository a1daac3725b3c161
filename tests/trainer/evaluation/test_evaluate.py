from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import pytest

from app.errors import BadInputError, ModelError
from app.moon.fast_tower import FastTower
from app.moon.tower_memory import TowerMemory
from app.settings import Settings
from trainer.data.home import HomeSet
from trainer.evaluation.gallery import Gallery
from trainer.evaluation.home import evaluate
from trainer.evaluation.metrics import Score
from trainer.evaluation.scores import CENTRE, FUSED, LABELS, LEXICAL, LOCAL_LEXICAL, MOON, PALETTE, VISION, VOTE, Scorer
from trainer.evaluation.tasks import mixed_rows, photo_rows
from trainer.evaluation.text_tasks import text_rows


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
        "certainty of predictions",
    ]
    assert {MOON, VISION} == set(scores(rows, "customer photo", "whole photo and true box", "same model R@1"))
    assert {MOON, CENTRE} == set(scores(rows, "core product", "box by the model's detector", "mean IoU with true box"))
    assert {MOON, FUSED, LEXICAL, LOCAL_LEXICAL} == set(scores(rows, "text", "en name", "R@10"))
    assert {MOON, FUSED} == set(scores(rows, "photo + text", "photo, true box and text", "exact SKU R@1"))
    assert {MOON, LABELS, VOTE} == set(scores(rows, "prediction", "picture alone", "category level 2 top-1"))
    assert {MOON, LABELS, PALETTE} == set(scores(rows, "prediction", "picture alone", "color top-1"))
    texts = [row.query for row in rows if row.section == "text" and row.metric == "R@10"]
    assert texts == [
        "en name",
        "en colour+name",
        "en synonym, seen in training",
        "en synonym, never seen",
        "en synonym and use case, seen in training",
        "en synonym and use case, never seen",
        "de name",
    ]


def test_another_evaluation_with_the_same_tower_computes_no_picture_and_finds_the_same(
    settings, home_folder, evaluation, monkeypatch
):
    memory, plain, computed = TowerMemory(1000), FastTower.look, []
    monkeypatch.setattr(FastTower, "look", lambda self, pixels: computed.append(len(pixels)) or plain(self, pixels))
    first = evaluate(settings, home_folder, seed=4, memory=memory)
    assert sum(computed) > 0
    computed.clear()
    second = evaluate(settings, home_folder, seed=4, memory=memory)
    assert not computed
    assert first.rows == second.rows == evaluation.rows


def test_rows_count_only_queries_of_held_out_designs(evaluation):
    sizes = {(row.section, row.query): row.n for row in evaluation.rows}
    assert sizes["customer photo", "whole photo and true box"] == 8
    assert sizes["text", "en synonym, never seen"] == 4
    assert sizes["photo + text", "text alone"] == 4
    assert sizes["prediction", "picture alone"] in (2, 4)
    assert sizes["prediction", "customer photo, true box"] in (4, 8)


def test_intervals_hold_their_values(evaluation):
    for row in evaluation.rows:
        for score in row.scores.values():
            assert 0 <= score.low <= score.value + 1e-9
            assert score.value <= score.high + 1e-9 <= 1 + 2e-9


def test_lexical_search_finds_titles_and_no_translations(evaluation):
    assert scores(evaluation.rows, "text", "en colour+name", "nDCG@10")[LEXICAL].value == 1.0
    assert scores(evaluation.rows, "text", "de name", "R@10")[LEXICAL].value == 0.0


def test_the_palette_names_the_colours_of_catalog_pictures(evaluation):
    assert scores(evaluation.rows, "prediction", "picture alone", "color top-1")[PALETTE].value == 1.0


def test_the_same_seed_measures_the_same(evaluation, settings, home_folder):
    again = evaluate(settings, home_folder, seed=4)
    assert (again.rows, again.targets) == (evaluation.rows, evaluation.targets)


def test_the_record_names_model_versions_machine_and_time(evaluation, settings):
    record = json.loads(json.dumps(evaluation.to_dict()))
    assert record["setup"]["products"] == 16
    assert record["setup"]["seed"] == 4
    assert record["setup"]["versions"].keys() >= {"torch", "moon-search"}
    assert record["setup"]["cores"] >= 1
    assert record["setup"]["seconds"] > 0
    assert record["rows"][0]["scores"]["MOON"].keys() == {"value", "low", "high"}
    assert record["targets"][0].keys() >= {"measure", "wanted", "value", "met", "beside"}
    assert record["setup"]["proof"].startswith("no full record of its training")


def test_what_the_tower_remembers_changes_no_result(evaluation, settings, home_folder, monkeypatch):
    monkeypatch.setattr("trainer.evaluation.home.remembering", lambda *_: nullcontext())
    forgetful = evaluate(settings, home_folder, seed=4).rows
    for own, other in zip(evaluation.rows, forgetful, strict=True):
        assert {name: score.value for name, score in own.scores.items()} == pytest.approx(
            {name: score.value for name, score in other.scores.items()}, abs=1e-6
        )


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


class OneByOne:
    """Vectors of an embedder, and which products it was shown in which order."""

    def __init__(self, embedder) -> None:
        self._embedder, self.seen = embedder, []

    def embed_products(self, products, images):
        self.seen += [product.id for product in products]
        return self._embedder.embed_products(products, images)


def test_held_out_products_are_seen_last_and_stand_in_the_catalogs_order(home_folder, embedder, settings):
    home = HomeSet(home_folder)
    home.products.insert(0, home.products.pop())
    shown = OneByOne(embedder)
    gallery = Gallery(home, shown, None, settings)
    splits = [home.products[gallery.rows[key]].split for key in shown.seen]
    assert splits == sorted(splits, key=lambda split: split == "test")
    assert [home.products[0].product.id, home.products[0].split] == [gallery.products[0].id, "test"]
    own = [embedder.embed_products([p], [[gallery.read(path) for path in p.images]])[0] for p in gallery.products]
    np.testing.assert_allclose(gallery.vectors, own, atol=1e-6)
