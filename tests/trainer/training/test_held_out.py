"""Test designs of the home-goods set that ships with the code never reach training, mining or validation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.settings import Settings
from trainer.data.corpus import Corpus
from trainer.data.negatives import training_items
from trainer.data.open import open_corpus
from trainer.data.pictures import PictureStore
from trainer.data.record import Item
from trainer.data.splits import TrainingRows, training_rows
from trainer.training.triplets import Recipe, TripletSource

DEMO = Path(__file__).parents[3] / "demo"
DRAWS = 2_000


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Corpus:
    return open_corpus(DEMO, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def split(demo) -> TrainingRows:
    return training_rows(demo)


@pytest.fixture(scope="module")
def source(demo, split, tmp_path_factory) -> TripletSource:
    recipe = Recipe((1.0, 1.0, 1.0), sibling_share=0.2, augment=True)
    read = PictureStore(tmp_path_factory.mktemp("pictures"), Settings()).read
    return TripletSource(demo, split.train, recipe, 0, lambda picture, _: picture.box, read=read)


@pytest.fixture(scope="module")
def held_out(demo) -> set[str]:
    found = designs(map(demo.item, np.unique(demo.columns["positive"][demo.rows_of("test")])))
    assert len(found) > 50
    return found


def designs(items: Iterable[Item]) -> set[str]:
    return {item.group or item.id for item in items}


@pytest.mark.slow
def test_no_draw_shows_a_held_out_design(demo, source, held_out, monkeypatch):
    documents: list[Item] = []
    read = demo.item
    monkeypatch.setattr(demo, "item", lambda row: documents.append(found := read(row)) or found)
    triplets = [source.draw(number) for number in range(DRAWS)]
    assert len(documents) >= 2 * DRAWS
    assert not designs(documents) & held_out
    photos = pl.read_parquet(DEMO / "photos.parquet").filter(pl.col("shows_test_model") | (pl.col("split") == "test"))
    views = {view for triplet in triplets for view, _ in triplet.query.views}
    rooms = {view.room.location for view in views if view.room is not None}
    shown = rooms | {view.location for view in views}
    assert len(rooms) > 100
    assert len(shown) > 500
    tests = pl.read_parquet(DEMO / "catalog.parquet").filter(pl.col("split") == "test")
    assert not shown & {str(DEMO / path) for path in tests["images"].explode()}
    assert not shown & {str(DEMO / path) for path in photos["path"]}


@pytest.mark.slow
def test_neither_mining_nor_validation_sees_a_held_out_design(demo, split, source, held_out):
    validated = np.concatenate([source.items, demo.columns["positive"][split.dev]])
    assert not designs(map(demo.item, np.unique(validated))) & held_out
    assert not designs(map(demo.item, training_items(demo, split.train))) & held_out
