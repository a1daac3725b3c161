"""What products mean, taught from pictures: they come to lie near their own labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from app.moon.skip import PicturePath
from trainer.data.record import Item
from trainer.training.meanings import NONE, fit_meaning, labels_of

WIDTH, CHANNELS = 16, 12
ITEMS = [
    Item("1", "a", (), ("Seats", "Chairs"), {"color": ("red", "blue"), "size": ()}),
    Item("2", "b", (), ("Seats", "Sofas"), {"color": ("blue",)}),
    Item("3", "c", (), ("Lamps",), {}),
]


def embed(texts) -> torch.Tensor:
    return normalize(torch.stack([torch.arange(4.0) + len(text) for text in texts]), dim=1)


def test_labels_are_categories_by_level_and_the_first_value_of_each_attribute():
    first, second, colours = labels_of(ITEMS, embed)
    assert first.places.tolist() == [1, 1, 0]
    assert second.places.tolist() == [0, 1, NONE]
    assert colours.places.tolist() == [1, 0, NONE]
    texts = ["<|category|> Lamps<|/category|>", "<|category|> Seats<|/category|>"]
    torch.testing.assert_close(first.vectors, embed(texts))


def test_what_all_products_share_is_no_lesson():
    assert labels_of(ITEMS[:1] * 2, embed) == []


@pytest.fixture
def path() -> PicturePath:
    torch.manual_seed(0)
    return PicturePath(CHANNELS, WIDTH, 8, 0.0)


def test_pictures_learn_to_lie_near_their_labels_and_looks_stay(path):
    kinds = torch.arange(60) % 6
    statistics = torch.randn(6, CHANNELS)[kinds] + 0.3 * torch.randn(60, CHANNELS)
    vectors = torch.eye(6, WIDTH)
    items = [Item(str(row), "", (), (f"kind {kind}",), {}) for row, kind in enumerate(kinds.tolist())]
    labels = labels_of(items, lambda names: vectors)
    looks = path.looks.weight.clone()
    assert fit_meaning(path, statistics, labels, seed=0) > 0.85
    with torch.no_grad():
        found = (normalize(path.meaning(path.seen(statistics)), dim=1) @ vectors.T).argmax(dim=1)
    assert (found == kinds).float().mean() > 0.95
    assert torch.equal(path.looks.weight, looks)


def test_the_same_seed_teaches_the_same(path):
    labels = labels_of(ITEMS, lambda names: torch.eye(len(names), WIDTH))
    statistics, start = torch.randn(3, CHANNELS), {name: value.clone() for name, value in path.state_dict().items()}
    results = []
    for _ in range(2):
        path.load_state_dict(start)
        torch.manual_seed(len(results))
        fit_meaning(path, statistics, labels, seed=3)
        results.append(path.meaning.weight.clone())
    torch.testing.assert_close(*results)


def test_without_labels_nothing_is_taught(path):
    before = path.meaning.weight.clone()
    assert math.isnan(fit_meaning(path, torch.randn(3, CHANNELS), [], seed=0))
    assert torch.equal(path.meaning.weight, before)
