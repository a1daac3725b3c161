"""The vision tower's upper stages tuned on photos: products are found better, and nothing below changes."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from app.moon.load import load_module
from app.moon.skip import PicturePath
from app.moon.tower import map_statistics
from trainer.data.splits import training_rows
from trainer.data.views import View
from trainer.training.batches import BrokenPictures
from trainer.training.features import LowerMaps, _pixels
from trainer.training.looks import Gallery, Photos
from trainer.training.presets import Stage
from trainer.training.starter import Starter
from trainer.training.tower import TunedTower, fit_tower
from trainer.training.triplets import Recipe, TripletSource
from trainer.training.warmup import align_pictures


@pytest.fixture
def tower(checkpoint):
    return load_module(str(checkpoint), torch.float32).model.vision_tower


@pytest.fixture
def read(corpus):
    def picture(location: str) -> Image.Image:
        return Image.open(location).convert("RGB")

    return picture


@pytest.fixture
def source(corpus) -> TripletSource:
    rows = training_rows(corpus).train
    return TripletSource(corpus, rows, Recipe(), 0, lambda picture, title: picture.box).of_pictures()


def test_lower_maps_and_upper_stages_give_the_statistics_of_all_maps(tower, source, read, tmp_path):
    views = [View(picture.location) for picture in source.corpus.item(int(source.items[0])).pictures]
    pixels = torch.stack([_pixels(view.show(read), tower.config.image_size) for view in views])
    with torch.inference_mode():
        maps, statistics = tower.look(pixels)
    expected = torch.cat([statistics, map_statistics(maps)], dim=1)
    tuned = TunedTower(tower, LowerMaps(tower, read, tmp_path))
    torch.testing.assert_close(tuned.look(views), expected, atol=2e-2, rtol=2e-2)


def test_lower_maps_outlive_a_change_of_the_upper_stages(tower, source, read, tmp_path):
    view = View(source.corpus.item(int(source.items[0])).pictures[0].location)
    maps = LowerMaps(tower, read, tmp_path)
    kept = maps([view])
    maps.save()
    torch.nn.init.normal_(tower.head[0].weight)
    again = LowerMaps(tower, lambda location: pytest.fail(f"{location} is read again"), tmp_path)
    assert torch.equal(again([view]), kept)


def test_photos_find_their_products_better_and_only_the_upper_stages_change(tower, source, read, tmp_path):
    torch.manual_seed(0)
    before = copy.deepcopy(tower.state_dict())
    tuned = TunedTower(tower, LowerMaps(tower, read, tmp_path))
    gallery = Gallery(source, tuned.look)
    path = PicturePath(gallery.statistics.shape[1], 8, 6, 0.0)
    align_pictures(path, gallery.statistics)
    seen = gallery.statistics.clone()
    photos = Photos(source, tuned.maps, BrokenPictures(tmp_path / "broken"))
    first = fit_tower(tuned, path, photos, gallery, Stage("tower", 1, 6, 1e-3))
    assert fit_tower(tuned, path, photos, gallery, Stage("tower", 12, 6, 1e-3)) < 0.9 * first
    changed = {name for name, value in tower.state_dict().items() if not torch.equal(value, before[name])}
    upper = {f"blocks.{number}." for number in range(tower.lower_blocks, len(tower.blocks))} | {"head."}
    assert changed
    assert all(name.startswith(tuple(upper)) for name in changed)
    assert not torch.equal(gallery.statistics, seen)
    assert not any(parameter.requires_grad for parameter in tower.upper_parts().parameters())


def test_a_model_without_a_skip_path_is_left_as_it_is(checkpoint, source, read, tmp_path):
    module = load_module(str(checkpoint), torch.float32)
    module.moon = replace(module.moon, skip=False, picture_dims=0)
    del module.model.moon_skip
    before = copy.deepcopy(module.model.vision_tower.state_dict())
    starter = Starter(module, read, tmp_path)
    shop = SimpleNamespace(source=source, folder=tmp_path)
    starter.fit_tower(shop, Stage("tower", 1, 2, 1e-3))
    starter.fit_looks(shop, Stage("looks", 1, 2, 1e-3))
    starter.give_back()
    after = module.model.vision_tower.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not list(tmp_path.rglob("*.safetensors"))
