from __future__ import annotations

import json
import logging

import pytest
from colour_model import ColourModel, item, photo, tiny_shop

from app.settings import Settings
from trainer.data.pictures import PictureStore
from trainer.data.record import Picture, Record
from trainer.evaluation.benchmark import prepare
from trainer.evaluation.labels import ATTRIBUTES, CATEGORY, TOP_1
from trainer.evaluation.run import Bench, compare

COLOURS = ("red", "green", "blue")


@pytest.fixture
def settings():
    return Settings(_env_file=None, device="cpu", batch_size=4)


@pytest.fixture
def shop(tmp_path):
    """Chairs and tables in three colours; queries by photo with its box, by words, and by both."""
    items = [item(tmp_path, colour, kind) for kind in ("chair", "table") for colour in COLOURS]
    records = [
        Record(own.id, own.title, photo(tmp_path, f"photo-{own.id}", own.id.split("-")[0]), split="test")
        for own in items
    ]
    records += [Record("red-chair", "red", split="test"), Record("red-chair", "x", split="train")]
    return lambda **info: tiny_shop(tmp_path, items, records, **info)


@pytest.fixture
def bench(settings, tmp_path):
    def make(corpus, **more) -> Bench:
        return Bench(prepare(corpus), PictureStore(tmp_path / "cache", settings).read, settings, **more)

    return make


def test_a_model_that_sees_colours_and_reads_words_finds_what_it_should(shop, bench):
    result = bench(shop()).measure(ColourModel())
    assert result.cell("both", "both").strict[1].value == 1.0
    assert result.cell("image", "both").strict[1].value == 0.5
    assert result.cell("image", "image").strict[10].value == 1.0
    assert result.cell("text", "text").strict[10].value == 1.0
    assert result.cell("text", "both").n == 7
    assert [(entry.category, entry.queries) for entry in result.categories] == [("Home", 7)]
    found = {(entry.task, entry.rule): entry.accuracy.value for entry in result.predictions}
    assert found[CATEGORY, TOP_1] == found["color", TOP_1] == found[ATTRIBUTES, TOP_1] == 1.0
    assert (result.left_out, result.broken) == ({"queries": 0, "products": 0}, [])


def test_category_and_attributes_are_never_shown_where_they_are_predicted(shop, bench):
    model = ColourModel()
    bench(shop()).measure(model)
    products = [content for content, is_query in model.seen if not is_query]
    unlabelled = [content for content in products if content.images and content.title and not content.category]
    assert len(unlabelled) == 6
    assert not any(content.attributes for content in unlabelled)
    assert not any(content.category or content.attributes for content, is_query in model.seen if is_query)


def test_every_product_is_embedded_once_per_view(shop, bench):
    model = ColourModel()
    bench(shop()).measure(model)
    assert sum(not is_query for _, is_query in model.seen) == 6 * 4
    assert sum(is_query for _, is_query in model.seen) == 6 * 3 + 1


def test_every_picture_is_read_once_per_model(shop, bench, settings, tmp_path):
    reads: list[str] = []
    store = PictureStore(tmp_path / "cache", settings)
    own = Bench(prepare(shop()), lambda location: reads.append(location) or store.read(location), settings)
    own.measure(ColourModel())
    assert len(reads) == len(set(reads)) == 12


def test_broken_pictures_are_counted_and_never_fatal(bench, tmp_path):
    gone = (Picture(str(tmp_path / "gone.png")),)
    items = [
        item(tmp_path, "red", "chair", pictures=gone),
        item(tmp_path, "green", "chair", pictures=gone, title="", category=(), attributes={}),
        item(tmp_path, "blue", "chair"),
    ]
    (tmp_path / "torn.png").write_bytes(b"no picture")
    torn = Picture(str(tmp_path / "torn.png"))
    records = [
        Record("red-chair", "red", torn, split="test"),
        Record("blue-chair", "", torn, split="test"),
        Record("blue-chair", "blue", split="test"),
    ]
    result = bench(tiny_shop(tmp_path, items, records)).measure(ColourModel())
    assert result.left_out == {"queries": 1, "products": 1}
    assert [reason.split(":")[0] for reason in result.broken] == [str(tmp_path / n) for n in ("gone.png", "torn.png")]
    assert result.cell("both", "both").n == 1
    assert result.cell("image", "both") is None
    assert result.cell("text", "both").strict[1].value == 1.0


def test_models_stand_side_by_side_with_their_setup(shop, bench):
    models = {"a": ColourModel("first"), "b": ColourModel("second")}
    comparison = compare(["a", "b"], bench(shop(), seed=3), lambda name, settings: models[name])
    record = json.loads(json.dumps(comparison.to_dict()))
    assert [model["name"] for model in record["models"]] == ["first", "second"]
    assert record["models"][0]["cells"] == record["models"][1]["cells"]
    setup = record["setup"]
    assert (setup["queries"], setup["gallery"], setup["seed"], setup["split"]) == (7, 6, 3, "test")
    assert setup["data"]["fingerprint"] == "f0"
    assert setup["versions"].keys() >= {"torch", "moon-search", "scikit-learn"}
    assert record["published"] == []
    assert record["home"] == {}


def test_published_numbers_come_with_data_of_their_format(shop, bench):
    comparison = compare(["a"], bench(shop(format="m5")), lambda name, settings: ColourModel())
    assert comparison.published[0].title == "M5Product retrieval"
    assert list(comparison.models[0].cell("both", "both").strict) == [10, 100, 500]


def checkpoint_that_trained_on(folder, *splits: str, fingerprint: str = "f0", before: dict | None = None):
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    record = {"data": {"fingerprint": fingerprint, "splits": splits}, "before": before}
    (folder / "training.json").write_text(json.dumps(record))
    model = ColourModel()
    model.family = "MOON"
    return lambda name, settings: model


@pytest.mark.parametrize(
    ("splits", "fingerprint", "before", "warned"),
    [
        (["train", "test"], "f0", None, True),
        (["train"], "f0", None, False),
        (["train", "test"], "another", None, False),
        (["train"], "f0", {"data": {"fingerprint": "f0", "splits": ["test"]}}, True),
    ],
)
def test_a_checkpoint_that_has_seen_the_queries_is_named(
    shop, bench, tmp_path, caplog, splits, fingerprint, before, warned
):
    folder = tmp_path / "checkpoint"
    opened = checkpoint_that_trained_on(folder, *splits, fingerprint=fingerprint, before=before)
    with caplog.at_level(logging.WARNING):
        comparison = compare([str(folder)], bench(shop()), opened)
    assert bool(comparison.setup["warnings"]) == warned
    assert ("trained on the split 'test' of this very data set" in caplog.text) == warned


def test_the_same_seed_measures_the_same(shop, bench):
    first, second = (bench(shop(), seed=5).measure(ColourModel()) for _ in range(2))
    assert (first.cells, first.predictions) == (second.cells, second.predictions)
