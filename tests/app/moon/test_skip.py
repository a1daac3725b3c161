"""The skip path: words, and pictures in the light of the words beside them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from app.moon.skip import MEANING, PicturePath, Skip

WIDTH, STATISTICS, DIMS = 6, 10, 4


@pytest.fixture
def skip() -> Skip:
    torch.manual_seed(0)
    made = Skip(WIDTH, STATISTICS, DIMS)
    nn.init.normal_(made.pictures.strength.weight)
    nn.init.normal_(made.pictures.shift.weight)
    return made.eval()


def shared(path: PicturePath, looks: torch.Tensor) -> torch.Tensor:
    """Meaning and looks at their shares of the length."""
    meaning, looks = normalize(path.meaning(looks), dim=-1), normalize(looks, dim=-1)
    return torch.cat([MEANING * meaning, (1 - MEANING**2) ** 0.5 * looks], dim=-1)


def parts_of(*rows: str) -> torch.Tensor:
    """Letters per token: p picture, t title, c category, a attribute, . anything else."""
    return torch.tensor([[[mark == own for own in "ptca"] for mark in row] for row in rows])


def test_tokens_of_a_picture_carry_its_own_statistics(skip):
    tokens = torch.randn(2, 5, WIDTH)
    statistics = torch.randn(3, STATISTICS)
    path = skip(tokens, torch.zeros_like(tokens), parts_of("pppp.", ".pp.."), statistics)
    plain = shared(skip.pictures, skip.pictures.seen(statistics))
    torch.testing.assert_close(path[0, :4], plain[[0, 0, 1, 1]])
    torch.testing.assert_close(path[1, 1:3], plain[[2, 2]])
    torch.testing.assert_close(path[0, 4, :WIDTH], tokens[0, 4])


def test_words_have_nothing_in_the_dimensions_of_looks(skip):
    tokens = torch.randn(1, 3, WIDTH)
    skip.gate.data.fill_(1.0)
    output = torch.randn(1, 3, WIDTH)
    path = skip(tokens, output, parts_of("ttt"))
    assert path.shape == (1, 3, WIDTH + DIMS)
    torch.testing.assert_close(path[..., :WIDTH], tokens + output)
    assert not path[..., WIDTH:].any()


def test_a_shoppers_words_change_the_looks_along_directions_and_by_a_shift(skip):
    tokens = torch.randn(1, 4, WIDTH)
    statistics = torch.randn(1, STATISTICS)
    path = skip(tokens, torch.zeros_like(tokens), parts_of("pptt"), statistics)
    words, looks = normalize(tokens[0, 2:].mean(dim=0), dim=0), skip.pictures.seen(statistics)[0]
    directions = skip.pictures.directions.weight
    along = skip.pictures.strength(words) * (directions @ looks)
    expected = shared(skip.pictures, looks + directions.T @ along + skip.pictures.shift(words))
    torch.testing.assert_close(path[0, 0], expected)
    torch.testing.assert_close(path[0, 1], expected)
    torch.testing.assert_close(path[0, 2:, :WIDTH], tokens[0, 2:])


@pytest.mark.parametrize("own", ["c", "a"])
def test_a_products_own_words_leave_its_looks_alone(skip, own):
    tokens = torch.randn(2, 4, WIDTH)
    statistics = torch.randn(1, STATISTICS).repeat(2, 1)
    path = skip(tokens, torch.zeros_like(tokens), parts_of(f"pt{own}.", "ptt."), statistics)
    plain = shared(skip.pictures, skip.pictures.seen(statistics[:1]))[0]
    torch.testing.assert_close(path[0, 0], plain)
    assert not torch.allclose(path[1, 0], plain, atol=1e-3)


def test_statistics_are_standardised(skip):
    with torch.no_grad():
        skip.pictures.centre.fill_(2.0)
        skip.pictures.spread.fill_(4.0)
    seen = skip.pictures.seen(torch.full((1, STATISTICS), 6.0))
    torch.testing.assert_close(seen, normalize(skip.pictures.looks(torch.ones(1, STATISTICS)), dim=1))


def test_without_statistics_a_picture_keeps_its_tokens():
    tokens = torch.randn(1, 3, WIDTH)
    plain = Skip(WIDTH)
    assert plain.pictures is None
    torch.testing.assert_close(plain(tokens, torch.zeros_like(tokens), parts_of("ppt")), tokens)
