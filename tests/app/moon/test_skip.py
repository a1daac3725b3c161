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
    nn.init.normal_(made.pictures.words.weight)
    return made.eval()


def shared(path: PicturePath, looks: torch.Tensor) -> torch.Tensor:
    """Meaning and looks at their shares of the length."""
    meaning, looks = normalize(path.meaning(looks), dim=-1), normalize(looks, dim=-1)
    return torch.cat([MEANING * meaning, (1 - MEANING**2) ** 0.5 * looks], dim=-1)


def parts_of(*rows: str) -> torch.Tensor:
    """Letters per token: p picture, t title, . anything else."""
    return torch.tensor([[[mark == "p", mark == "t", False, False] for mark in row] for row in rows])


def test_tokens_of_a_picture_carry_its_own_statistics(skip):
    tokens = torch.randn(2, 5, WIDTH)
    statistics = torch.randn(3, STATISTICS)
    path = skip(tokens, torch.zeros_like(tokens), parts_of("pppp.", ".pp.."), statistics)
    plain = shared(skip.pictures, skip.pictures.looks(statistics))
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


def test_words_beside_a_picture_scale_its_looks(skip):
    tokens = torch.randn(1, 4, WIDTH)
    statistics = torch.randn(1, STATISTICS)
    path = skip(tokens, torch.zeros_like(tokens), parts_of("pptt"), statistics)
    words = tokens[0, 2:].mean(dim=0)
    expected = shared(skip.pictures, skip.pictures.looks(statistics[0]) * (1 + skip.pictures.words(words)))
    torch.testing.assert_close(path[0, 0], expected)
    torch.testing.assert_close(path[0, 1], expected)
    torch.testing.assert_close(path[0, 2:, :WIDTH], tokens[0, 2:])


def test_statistics_are_standardised(skip):
    with torch.no_grad():
        skip.pictures.centre.fill_(2.0)
        skip.pictures.spread.fill_(4.0)
    seen = skip.pictures.seen(torch.full((1, STATISTICS), 6.0))
    torch.testing.assert_close(seen, skip.pictures.looks(torch.ones(1, STATISTICS)))


def test_without_statistics_a_picture_keeps_its_tokens():
    tokens = torch.randn(1, 3, WIDTH)
    plain = Skip(WIDTH)
    assert plain.pictures is None
    torch.testing.assert_close(plain(tokens, torch.zeros_like(tokens), parts_of("ppt")), tokens)
