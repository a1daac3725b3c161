"""Vectors cut to their first numbers."""

import doctest

import numpy as np
import pytest

from app import matryoshka
from app.encoder import Embedder
from app.errors import ModelError
from app.matryoshka import with_dim
from app.schema import Product, Query


def test_the_examples_in_the_documentation_hold():
    assert doctest.testmod(matryoshka).failed == 0


def test_products_queries_and_labels_are_cut_alike_and_have_unit_length(embedder: Embedder):
    short = with_dim(embedder, 16)
    product, query = [Product(id="1", title="red chair")], [Query(text="red chair")]
    pairs = [
        (short.embed_products(product, [[]]), embedder.embed_products(product, [[]])),
        (short.embed_queries(query)[0], embedder.embed_queries(query)[0]),
        (short.embed_labels(["red chair"], "category"), embedder.embed_labels(["red chair"], "category")),
    ]
    for cut, whole in pairs:
        assert cut.shape == (1, 16)
        np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(cut, whole[:, :16] / np.linalg.norm(whole[:, :16]), rtol=1e-6)


def test_the_fingerprint_tells_the_length(embedder: Embedder):
    assert with_dim(embedder, 16).fingerprint == "colour-words-1@16"
    assert with_dim(embedder, None) is embedder


def test_more_numbers_than_the_model_gives_are_refused(embedder: Embedder):
    with pytest.raises(ModelError, match="65 numbers: the model gives 64"):
        with_dim(embedder, 65)
