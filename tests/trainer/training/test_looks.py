"""Looks taught from pictures alone: right neighbours come first, broken pictures cost themselves."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

from app.errors import BadInputError, CatalogError
from app.moon.skip import PicturePath
from trainer.data.splits import training_rows
from trainer.training.batches import BrokenPictures
from trainer.training.looks import Gallery, Photos, fit_looks
from trainer.training.presets import Stage
from trainer.training.triplets import Recipe, TripletSource

CHANNELS, NOISE = 12, 24


@pytest.fixture
def source(corpus) -> TripletSource:
    rows = training_rows(corpus).train
    return TripletSource(corpus, rows, Recipe(), 0, lambda picture, title: picture.box).of_pictures()


@pytest.fixture
def product_of(corpus) -> dict[str, int]:
    """Rows of products by the location of their pictures and of photos that show them."""
    shown = {p.location: row for row in range(len(corpus.item_keys["id"])) for p in corpus.item(row).pictures}
    for row in training_rows(corpus).train:
        record = corpus.record(int(row))
        if record.picture is not None and "image" in record.modalities:
            shown[record.picture.location] = record.positive
    return shown


@pytest.fixture
def statistics(product_of):
    """A few channels know the product; many more are noise of the picture."""

    def seen(views):
        rows = []
        for view in views:
            own = torch.Generator().manual_seed(product_of[view.location])
            noise = torch.Generator().manual_seed(zlib.crc32(f"{view}".encode()))
            known, loud = torch.randn(CHANNELS, generator=own), 3 * torch.randn(NOISE, generator=noise)
            rows.append(torch.cat([known, loud]))
        return torch.stack(rows)

    return seen


def path() -> PicturePath:
    torch.manual_seed(0)
    return PicturePath(CHANNELS + NOISE, 8, 6, 0.0)


def found(made: PicturePath, photos: Photos, gallery: Gallery) -> float:
    views, counts, right = photos.draw(range(64))
    items, places = gallery.draw(right, np.random.default_rng(0))
    pictures = gallery.statistics[places]
    with torch.no_grad():
        looks = made.seen(views).split(counts)
        queries = torch.stack([own.mean(dim=0) for own in looks])
        best = (queries @ made.seen(pictures).T).argmax(dim=1)
    return float(np.mean(items[best.numpy()] == right))


def test_photos_learn_to_find_their_products(source, statistics, tmp_path):
    made, photos, gallery = (
        path(),
        Photos(source, statistics, BrokenPictures(tmp_path / "b")),
        Gallery(source, statistics),
    )
    before = found(made, photos, gallery)
    fit_looks(made, photos, gallery, Stage("looks", 60, 16, 1e-2))
    assert found(made, photos, gallery) > before + 0.2
    assert not made.training


def test_only_photos_are_drawn_with_a_view_at_least(source, statistics, tmp_path):
    views, counts, right = Photos(source, statistics, BrokenPictures(tmp_path / "b")).draw(range(10))
    assert len(counts) == len(right) == 10
    assert min(counts) >= 1
    assert len(views) == sum(counts)
    assert set(right.tolist()) <= set(source.items.tolist())


def test_a_step_of_a_large_catalog_holds_all_right_products(source, statistics, monkeypatch):
    monkeypatch.setattr("trainer.training.looks.GALLERY", 2)
    right = source.items[:3]
    items, pictures = Gallery(source, statistics).draw(right, np.random.default_rng(0))
    assert set(right.tolist()) <= set(items.tolist())
    assert len(items) <= 5 < len(source.items)
    assert len(pictures) == len(items)
    assert (np.diff(items) > 0).all()


def test_a_product_is_not_its_own_negative_but_no_mask_either(source, statistics):
    gallery = Gallery(source, statistics)
    items, _ = gallery.draw(source.items, np.random.default_rng(0))
    same = gallery.same(items, items)
    assert not same.diagonal().any()
    keys = source.corpus.item_keys["title"][items]
    assert torch.equal(same, torch.from_numpy((keys[:, None] == keys) & ~np.eye(len(items), dtype=bool)))


def test_broken_pictures_cost_themselves_and_are_reported(source, statistics, product_of, tmp_path):
    broken = BrokenPictures(tmp_path / "broken.jsonl")
    lost = Photos(source, statistics, broken).source.draw(0).query.views[0][0].location

    def seen(views):
        if any(view.location == lost for view in views):
            raise BadInputError(f"{lost}: broken")
        return statistics(views)

    _, _, right = Photos(source, seen, broken).draw(range(5))
    assert len(right) == 5
    assert len(broken) >= 1


def test_photos_of_which_none_can_be_read_end_the_run(source, tmp_path):
    def gone(views):
        raise BadInputError("gone")

    with pytest.raises(CatalogError, match="trainer validate"):
        Photos(source, gone, BrokenPictures(tmp_path / "b")).draw(range(1))
