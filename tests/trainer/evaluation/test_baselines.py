from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from app.moon.load import load_module
from app.schema import Product
from trainer.evaluation.baselines import BM25, NEIGHBOURS, RawVision, centre_box, neighbour_vote

SHELF = [
    Product(id="1", title="Red chair", category=["Furniture", "Chairs"], attributes={"material": ["wood"]}),
    Product(id="2", title="Blue chair", category=["Furniture", "Chairs"]),
    Product(id="3", title="Étagère murale", category=["Furniture", "Shelves"]),
]


def test_bm25_reads_title_category_and_attributes_without_case():
    bm25 = BM25(SHELF)
    assert bm25.rank(["BLUE chair"], depth=3).tolist() == [[1, 0, -1]]
    assert bm25.rank(["wood"], depth=2).tolist() == [[0, -1]]
    assert bm25.rank(["shelves", "étagère"], depth=1).tolist() == [[2], [2]]


def test_bm25_finds_nothing_without_a_common_word():
    assert BM25(SHELF).rank(["stool", "!?", ""], depth=2).tolist() == [[-1, -1]] * 3


def test_bm25_prefers_rare_words():
    assert BM25(SHELF).rank(["chair wood"], depth=1).tolist() == [[0]]


def test_bm25_in_all_languages_reads_titles_that_english_leaves_out():
    lamp = [Product(id="1", title="Lamp", titles={"de": "Tischlampe"}), Product(id="2", title="Stool")]
    assert BM25(lamp).rank(["Tischlampe"], depth=1).tolist() == [[-1]]
    assert BM25(lamp, all_languages=True).rank(["Tischlampe"], depth=1).tolist() == [[0]]


def test_neighbours_vote_with_their_similarity_and_the_far_ones_not_at_all():
    near, far = [[0.9, 0.5, 0.5]], [[0.1] * 50]
    similarities = np.concatenate([np.array(near), np.array(far)], axis=1)
    assert neighbour_vote(similarities, ["chair", "lamp", "lamp", *["sofa"] * 50]) == ["lamp"]
    one_each = np.array([[0.9, 0.8] + [0.0] * NEIGHBOURS])
    assert neighbour_vote(one_each, ["chair", "lamp", *["sofa"] * NEIGHBOURS]) == ["chair"]


def test_nearest_ranks_products_by_their_best_picture():
    pictures = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6]], dtype=np.float32)
    queries = np.array([[0, 1], [0.8, 0.6]], dtype=np.float32)
    assert RawVision.nearest(queries, pictures, [0, 0, 1, 3]).tolist() == [[0, 1, 3], [3, 1, 0]]


def test_raw_vision_is_the_towers_pooled_output_of_unit_length(checkpoint):
    module = load_module(str(checkpoint), torch.float32)
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue", "white", "black")]
    vectors = RawVision(module).embed(images)
    pixels = module.processor.image_processor(images, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        pooled = module.model.vision_tower(pixels).pooler_output
    expected = torch.nn.functional.normalize(pooled, dim=1).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_centre_box_has_the_mean_size_in_the_middle():
    assert centre_box([(0, 0, 10, 40), (5, 5, 35, 25)], 100, 60) == pytest.approx((40, 15, 60, 45))
