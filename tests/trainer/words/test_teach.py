from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from app.errors import ModelError
from app.moon.load import load_module
from trainer.words.build import build_words
from trainer.words.teach import Lessons, teach_words


class Module:
    """What of a model is taught: words, embeddings, and the skip path's matrix."""

    def __init__(self, words, width: int) -> None:
        torch.manual_seed(0)
        self.words = words
        self.model = self
        self.embeddings = torch.nn.Embedding(len(words), width)
        self.moon_skip = torch.nn.Module()
        self.moon_skip.linear = torch.nn.Linear(width, width, bias=False)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.embeddings


@pytest.fixture(scope="module")
def folder(packages, home_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("taught") / "words"
    build_words(packages, out, home_folder, pieces=500)
    return out


@pytest.fixture(scope="module")
def words(checkpoint):
    return load_module(str(checkpoint)).words


def test_taught_words_point_where_the_teacher_points(folder, words):
    module = Module(words, 400)
    assert teach_words(module, folder, steps=60) > 0.85
    tokens, _, wanted = Lessons(module, folder, 1).draw(20)
    with torch.no_grad():
        given = torch.stack([module.moon_skip.linear(module.embeddings.weight[own].mean(0)) for own in tokens])
    assert functional.cosine_similarity(given[:, :384], wanted).mean() > 0.85


def test_words_leave_the_dimensions_beyond_the_teachers_free(folder, words):
    module = Module(words, 400)
    teach_words(module, folder, steps=2)
    assert module.moon_skip.linear.weight[:384].any(dim=1).all()
    assert not module.moon_skip.linear.weight[384:].any()


def test_the_same_seed_teaches_the_same(folder, words):
    first, second = Module(words, 400), Module(words, 400)
    for module in (first, second):
        teach_words(module, folder, steps=3, seed=7)
    assert torch.equal(first.embeddings.weight, second.embeddings.weight)


def test_a_model_narrower_than_the_teacher_is_refused(folder, words):
    with pytest.raises(ModelError, match="vectors of 16 numbers cannot hold the teacher's 384"):
        teach_words(Module(words, 16), folder)
