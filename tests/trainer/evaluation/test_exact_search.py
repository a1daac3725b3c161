from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.search import top_k


def plain_top_k(queries, gallery, k):
    similarities = queries.astype(np.float32) @ gallery.astype(np.float32).T
    rows = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(similarities, rows, axis=1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 23), st.integers(1, 12), st.integers(1, 7), st.integers(1, 9))
def test_chunked_search_equals_a_full_sort_with_ties_by_lower_row(queries, items, k, query_chunk, gallery_chunk):
    rng = np.random.default_rng(queries * 100 + items)
    left = rng.integers(-1, 2, (queries, 3)).astype(np.float32)
    right = rng.integers(-1, 2, (items, 3)).astype(np.float32)
    rows, scores = top_k(left, right, k, query_chunk=query_chunk, gallery_chunk=gallery_chunk)
    wanted_rows, wanted_scores = plain_top_k(left, right, k)
    assert rows.tolist() == wanted_rows.tolist()
    assert scores.tolist() == wanted_scores.tolist()


def test_many_equal_items_come_in_the_order_of_their_rows():
    gallery = np.ones((5000, 4), dtype=np.float32)
    rows, scores = top_k(gallery[:2], gallery, 10, gallery_chunk=700)
    assert rows.tolist() == [list(range(10))] * 2
    assert (scores == 4).all()


def test_random_vectors_give_the_neighbours_of_a_full_product():
    rng = np.random.default_rng(0)
    queries, gallery = (rng.normal(size=(n, 32)).astype(np.float32) for n in (50, 3000))
    rows, scores = top_k(queries, gallery, 100, query_chunk=16, gallery_chunk=512)
    wanted_rows, wanted_scores = plain_top_k(queries, gallery, 100)
    assert rows.tolist() == wanted_rows.tolist()
    assert scores == pytest.approx(wanted_scores, abs=1e-4)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)


def test_half_precision_from_a_file_is_searched_in_single_precision(tmp_path):
    rng = np.random.default_rng(1)
    np.save(tmp_path / "gallery.npy", rng.normal(size=(300, 8)).astype(np.float16))
    gallery = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    rows, scores = top_k(gallery[:20], gallery, 5, gallery_chunk=64)
    wanted_rows, wanted_scores = plain_top_k(np.asarray(gallery[:20]), np.asarray(gallery), 5)
    assert rows.tolist() == wanted_rows.tolist()
    assert scores == pytest.approx(wanted_scores, rel=1e-5)


def test_a_small_gallery_narrows_the_result_and_no_queries_give_none():
    gallery = np.eye(3, dtype=np.float32)
    assert top_k(gallery, gallery, 10)[0].shape == (3, 3)
    assert top_k(gallery[:0], gallery, 2)[0].shape == (0, 2)


@pytest.mark.parametrize(("width", "k"), [(3, 0), (4, 1)])
def test_a_search_that_makes_no_sense_is_refused(width, k):
    with pytest.raises(ValueError, match="no such search"):
        top_k(np.eye(width, dtype=np.float32), np.eye(3, dtype=np.float32), k)


def test_progress_counts_chunks_of_queries():
    seen = []
    top_k(
        np.eye(5, dtype=np.float32),
        np.eye(5, dtype=np.float32),
        1,
        query_chunk=2,
        track=lambda parts, title: seen.append((len(parts), title)) or parts,
    )
    assert seen == [(3, "search")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same_neighbours():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    assert top_k(vectors, vectors, 3, device="cuda")[0].tolist() == top_k(vectors, vectors, 3)[0].tolist()
