from __future__ import annotations

import pytest
import torch

from app.moon.tower import EfficientNetLiteConfig, EfficientNetLiteModel
from app.moon.tower_memory import TowerMemory, remembering


def counting_tower(seed: int = 0) -> EfficientNetLiteModel:
    """Counts the pictures that it computes."""
    torch.manual_seed(seed)
    model = EfficientNetLiteModel(EfficientNetLiteConfig(image_size=64, grid=2, hidden_size=8))
    model.seen = 0

    def count(module, args):
        model.seen += len(args[0])

    model.stem.register_forward_pre_hook(count)
    return model


@pytest.fixture
def tower():
    return counting_tower()


@torch.inference_mode()
def test_a_picture_is_computed_once_and_comes_out_the_same_in_any_batch(tower):
    pictures = torch.randn(3, 3, 64, 64)
    expected, boxed = tower(pictures), tower.features(pictures)
    tower.seen = 0
    with remembering(tower, TowerMemory()):
        first, second = tower(pictures[[0, 1, 0]]), tower(pictures[[2, 1]])
        map_ = tower.features(pictures[[2]])
    assert tower.seen == 3
    for name in ("pooler_output", "last_hidden_state", "statistics"):
        torch.testing.assert_close(first[name], expected[name][[0, 1, 0]])
        torch.testing.assert_close(second[name], expected[name][[2, 1]])
    torch.testing.assert_close(map_, boxed[[2]])


@torch.inference_mode()
def test_the_pictures_that_were_used_last_are_kept(tower):
    pictures = torch.randn(3, 3, 64, 64)
    with remembering(tower, TowerMemory(2)):
        for place in (0, 1, 0, 2, 0, 1):
            tower(pictures[[place]])
    assert tower.seen == 4


@torch.inference_mode()
def test_nothing_is_remembered_afterwards(tower):
    picture = torch.randn(1, 3, 64, 64)
    with remembering(tower, TowerMemory()):
        tower(picture)
    tower(picture)
    assert tower.seen == 2


@torch.inference_mode()
def test_an_outer_memory_goes_on_in_an_inner_block(tower):
    picture = torch.randn(1, 3, 64, 64)
    with remembering(tower, TowerMemory()):
        for _ in range(2):
            with remembering(tower, TowerMemory()):
                tower(picture)
    assert tower.seen == 1
    assert "look" not in vars(tower)


@torch.inference_mode()
def test_a_memory_serves_towers_of_the_same_weights_and_forgets_for_others():
    pictures, memory = torch.randn(2, 3, 64, 64), TowerMemory()
    towers = [counting_tower(seed) for seed in (0, 0, 1, 0)]
    maps = []
    for tower in towers:
        memory.serve(tower)
        with remembering(tower, memory):
            maps.append(tower.features(pictures))
    assert [tower.seen for tower in towers] == [2, 0, 2, 2]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])
