from __future__ import annotations

import logging
from collections import Counter

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from app.errors import BadInputError
from app.moon.load import load_module
from trainer.data.views import View
from trainer.training import features
from trainer.training.features import MapTower, TowerMaps

COLOURS = {"red.png": "red", "blue.png": "blue", "grey.png": "grey"}


@pytest.fixture(scope="module")
def tower(checkpoint):
    return load_module(str(checkpoint), torch.float32).model.vision_tower


class Reader:
    """Pictures by name; counts what was read."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()

    def __call__(self, location: str) -> Image.Image:
        self.read[location] += 1
        if location not in COLOURS:
            raise BadInputError(f"{location}: no picture")
        image = Image.linear_gradient("L").resize((90, 70)).convert("RGB")
        return Image.blend(image, Image.new("RGB", image.size, COLOURS[location]), 0.5)


VIEWS = [View(name) for name in COLOURS] + [View("red.png", (20.0, 20.0, 60.0, 60.0), "core")]


def test_maps_come_in_the_asked_order_and_are_computed_once(tower, tmp_path):
    read = Reader()
    maps = TowerMaps(tower, read, tmp_path, grid=2)
    found = maps(VIEWS)
    assert found.shape == (4, 24 * 2 * 2 + tower.statistics_size)
    assert found.dtype == torch.float32
    assert torch.equal(maps(VIEWS[::-1]), found.flip(0))
    assert read.read == {"red.png": 2, "blue.png": 1, "grey.png": 1}
    assert not torch.equal(found[0], found[3])


def test_maps_are_the_towers_output_for_the_picture(tower, tmp_path):
    read = Reader()
    pixels = torch.stack([features._pixels(view.show(read), 64) for view in VIEWS])
    with torch.inference_mode():
        output = tower(pixels)
    expected = torch.cat([output.last_hidden_state.flatten(1), output.statistics], dim=1)
    torch.testing.assert_close(TowerMaps(tower, read, tmp_path, grid=2)(VIEWS), expected, atol=2e-3, rtol=2e-3)


def test_without_a_grid_maps_are_as_fine_as_the_tower_sees(tower, tmp_path):
    runs = [TowerMaps(tower, Reader(), tmp_path, grid) for grid in (None, 1)]
    fine, pooled = (maps(VIEWS) for maps in runs)
    assert fine.shape == (4, 24, 2, 2)
    torch.testing.assert_close(fine.mean(dim=(2, 3)), pooled[:, :24], atol=2e-3, rtol=2e-3)
    for maps in runs:
        maps.save()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_later_run_reads_them_back_without_a_picture(tower, tmp_path):
    first = TowerMaps(tower, Reader(), tmp_path, grid=2)
    expected = first(VIEWS)
    first.save()
    read = Reader()
    later = TowerMaps(tower, read, tmp_path, grid=2)
    assert torch.equal(later(VIEWS), expected)
    assert not read.read
    later.save()
    assert len(list(tmp_path.glob("*/*"))) == 1


def test_another_tower_does_not_read_them(tower, checkpoint, tmp_path):
    maps = TowerMaps(tower, Reader(), tmp_path, grid=2)
    maps.fill(VIEWS)
    other = load_module(str(checkpoint), torch.float32).model.vision_tower
    with torch.no_grad():
        next(other.parameters()).add_(0.1)
    read = Reader()
    TowerMaps(other, read, tmp_path, grid=2)(VIEWS)
    assert read.read


def test_runs_at_the_same_time_add_to_the_same_folder(tower, tmp_path):
    runs = [TowerMaps(tower, Reader(), tmp_path, grid=2) for _ in range(2)]
    expected = runs[0](VIEWS[:2])
    runs[1].fill([VIEWS[0], VIEWS[2]])
    runs[0].save()
    read = Reader()
    both = TowerMaps(tower, read, tmp_path, grid=2)(VIEWS[:3])
    assert torch.equal(both[:2], expected)
    assert not read.read


def test_what_a_killed_process_left_half_written_is_not_read(tower, tmp_path, caplog):
    maps = TowerMaps(tower, Reader(), tmp_path, grid=2)
    maps.fill(VIEWS[:2])
    maps(VIEWS[2:])
    maps.save()
    whole, cut = sorted(next(tmp_path.iterdir()).iterdir())
    (cut.parent / "0123.4711").write_bytes(whole.read_bytes()[:100])
    cut.write_bytes(cut.read_bytes()[:-50])
    read = Reader()
    with caplog.at_level(logging.WARNING):
        later = TowerMaps(tower, read, tmp_path, grid=2)
    assert torch.equal(later(VIEWS), maps(VIEWS))
    assert read.read.total() == 2
    assert f"{cut} is damaged" in caplog.text
    assert not cut.exists()


def test_views_are_written_as_soon_as_there_are_many(tower, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD_VIEWS", 2)
    maps = TowerMaps(tower, Reader(), tmp_path, grid=2)
    maps(VIEWS[:1])
    assert not list(tmp_path.glob("*/*"))
    maps(VIEWS[:3])
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 1


def test_a_broken_picture_is_told_and_costs_the_others_nothing(tower, tmp_path):
    maps = TowerMaps(tower, Reader(), tmp_path, grid=2)
    with pytest.raises(BadInputError, match=r"gone\.png: no picture"):
        maps([VIEWS[0], View("gone.png")])
    views = [*VIEWS, View("gone.png")]
    assert maps.fill(views) == ["gone.png: no picture"]
    assert torch.equal(maps.known(views), maps(VIEWS))


def test_maps_may_be_trained_on(tower, tmp_path):
    """Tensors of inference mode could not be saved for a backward pass."""
    layer = nn.LazyLinear(1)
    layer(TowerMaps(tower, Reader(), tmp_path, grid=2)(VIEWS)).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_the_tower_is_in_evaluation_mode_whatever_mode_it_is_in(tower, tmp_path):
    expected = TowerMaps(tower, Reader(), tmp_path / "a", grid=2)(VIEWS)
    statistics = {name: value.clone() for name, value in tower.named_buffers()}
    found = TowerMaps(tower.train(), Reader(), tmp_path / "b", grid=2)(VIEWS)
    assert torch.equal(found, expected)
    assert all(torch.equal(value, statistics[name]) for name, value in tower.named_buffers())


def test_a_map_tower_hands_on_what_was_kept(tower, tmp_path):
    kept = TowerMaps(tower, Reader(), tmp_path, grid=2)(VIEWS)
    output = MapTower(tower)(kept, output_hidden_states=True)
    assert output.last_hidden_state.shape == (len(VIEWS), 24, 2, 2)
    assert output.statistics.shape == (len(VIEWS), tower.statistics_size)
    whole = TowerMaps(tower, Reader(), tmp_path, grid=None)(VIEWS)
    torch.testing.assert_close(output.last_hidden_state, adaptive_avg_pool2d(whole, 2), atol=5e-3, rtol=0)
    assert torch.equal(output.statistics, kept[:, -tower.statistics_size :])


def test_a_mirrored_row_has_its_map_flipped_and_its_statistics_kept(tower, tmp_path):
    kept = TowerMaps(tower, Reader(), tmp_path, grid=2)(VIEWS)
    stand_in = MapTower(tower)
    maps, statistics = stand_in.split(kept)
    flipped, same = stand_in.split(stand_in.mirrored(kept[0])[None])
    assert torch.equal(flipped[0], maps[0].flip(2))
    assert torch.equal(same[0], statistics[0])
