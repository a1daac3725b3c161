from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.losses.negatives import Documents, gather, share_a_key


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**31))
def test_a_query_and_a_document_share_a_key_iff_their_nonzero_keys_meet(queries, documents, width, distinct, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-(2**62), 2**62, (distinct,), generator=generator)
    values[0] = 0
    query_keys, document_keys = (
        values[torch.randint(0, distinct, (rows, width), generator=generator)] for rows in (queries, documents)
    )
    expected = [[bool((set(q.tolist()) & set(d.tolist())) - {0}) for d in document_keys] for q in query_keys]
    assert share_a_key(query_keys, document_keys).tolist() == expected


def test_keys_larger_than_every_key_of_the_queries_are_not_shared():
    assert share_a_key(torch.tensor([[1, 5]]), torch.tensor([[9, 9], [6, 4], [-3, 5]])).tolist() == [
        [False, False, True]
    ]


def test_similarities_are_cosines_of_the_cut_vectors_in_float32():
    vectors = torch.tensor([[3.0, 4.0, 100.0], [0.0, 2.0, 7.0]], dtype=torch.bfloat16)
    documents = Documents(vectors[:1], vectors[1:], torch.zeros(2, 1, dtype=torch.long), 0)
    similarities = documents.similarities(torch.tensor([[1.0, 0.0, 5.0]], dtype=torch.bfloat16), 2)
    assert similarities.dtype == torch.float32
    assert similarities[0].tolist() == pytest.approx([0.6, 0.0])


def test_gathering_in_one_process_changes_nothing():
    documents, keys = torch.randn(4, 3), torch.zeros(4, 1, dtype=torch.long)
    gathered, gathered_keys, _, first = gather(documents, keys, torch.tensor(0.5))
    assert gathered is documents
    assert gathered_keys is keys
    assert first == 0
