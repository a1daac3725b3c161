from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gated import GatedEmbedder

from app.batching import BatchedEmbedder
from app.errors import OverloadedError, StoppingError
from app.metrics import Metrics
from app.schema import Product, Query
from tests.conftest import ColourWordEmbedder


@pytest.fixture
def gated() -> Iterator[GatedEmbedder]:
    embedder = GatedEmbedder()
    yield embedder
    embedder.gate.set()


def ask_while_busy(batched: BatchedEmbedder, gated: GatedEmbedder, texts: Sequence[str], pool: ThreadPoolExecutor):
    """One query occupies the model; the others come from a thread each and gather behind it."""
    first = pool.submit(batched.embed_queries, [Query("first")])
    assert gated.entered.wait(10)
    futures = [pool.submit(batched.embed_queries, [Query(text)]) for text in texts]
    deadline = time.monotonic() + 10
    while len(batched._queue) + sum(future.done() for future in futures) < len(futures):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return first, futures


def test_queries_that_come_while_the_model_works_share_its_next_call(gated):
    batched = BatchedEmbedder(gated, batch_size=32)
    texts = [f"word{number}" for number in range(20)]
    with ThreadPoolExecutor(21) as pool:
        first, futures = ask_while_busy(batched, gated, texts, pool)
        gated.gate.set()
        vectors = [future.result(10)[0][0] for future in [first, *futures]]
    assert gated.batches == [1, 20]
    expected, _ = ColourWordEmbedder().embed_queries([Query(text) for text in ["first", *texts]])
    assert np.array_equal(np.stack(vectors), expected)
    batched.close()


def test_no_batch_is_larger_than_the_batch_size(gated):
    batched = BatchedEmbedder(gated, batch_size=8)
    with ThreadPoolExecutor(21) as pool:
        _, futures = ask_while_busy(batched, gated, ["word"] * 20, pool)
        gated.gate.set()
        [future.result(10) for future in futures]
    assert gated.batches == [1, 8, 8, 4]
    batched.close()


def test_a_failing_query_fails_alone(gated):
    batched = BatchedEmbedder(gated)
    with ThreadPoolExecutor(6) as pool:
        first, futures = ask_while_busy(batched, gated, ["red", "poison", "blue", "green"], pool)
        gated.gate.set()
        errors = [future.exception(10) for future in [first, *futures]]
    assert [type(error) for error in errors] == [type(None), type(None), ValueError, type(None), type(None)]
    batched.close()


def test_a_lone_query_does_not_wait_for_others(embedder):
    batched = BatchedEmbedder(embedder, wait_ms=60_000)
    start = time.perf_counter()
    batched.embed_queries([Query("chair")])
    assert time.perf_counter() - start < 30
    batched.close()


def test_queries_of_one_call_keep_their_order(embedder):
    batched = BatchedEmbedder(embedder, batch_size=2, wait_ms=1)
    queries = [Query(f"word{number}") for number in range(7)]
    vectors, boxes = batched.embed_queries(queries)
    assert np.array_equal(vectors, embedder.embed_queries(queries)[0])
    assert boxes == [None] * 7
    batched.close()


def test_a_full_queue_refuses_at_once_and_answers_what_it_took(gated):
    batched = BatchedEmbedder(gated, max_queued=2)
    with ThreadPoolExecutor(6) as pool:
        first, futures = ask_while_busy(batched, gated, ["word"] * 5, pool)
        refused = [future for future in futures if future.done()]
        assert len(refused) == 3
        for future in refused:
            with pytest.raises(OverloadedError, match="too many queries are waiting for the model; try again"):
                future.result()
        gated.gate.set()
        assert all(future.result(10)[0].shape == (1, 64) for future in [first, *futures] if future not in refused)
    batched.close()


def test_closing_answers_the_queue_and_refuses_what_comes_later(gated):
    batched = BatchedEmbedder(gated)
    with ThreadPoolExecutor(4) as pool:
        _, futures = ask_while_busy(batched, gated, ["red", "blue"], pool)
        closing = pool.submit(batched.close)
        gated.gate.set()
        assert all(future.result(10)[0].shape == (1, 64) for future in futures)
        closing.result(10)
    with pytest.raises(StoppingError, match="shutting down"):
        batched.embed_queries([Query("late")])


def test_a_query_that_waited_too_long_is_refused_and_not_embedded(gated):
    metrics = Metrics()
    batched = BatchedEmbedder(gated, metrics=metrics)
    with ThreadPoolExecutor(2) as pool:
        _, (late,) = ask_while_busy(batched, gated, ["late"], pool)
        batched._max_wait = 0.01
        time.sleep(0.02)
        gated.gate.set()
        with pytest.raises(OverloadedError, match="try again") as refused:
            late.result(10)
    assert refused.value.retry_after == 0.01
    assert gated.batches == [1]
    assert metrics.registry.get_sample_value("moon_rejected_total", {"reason": "wait"}) == 1
    batched.close()


def test_a_query_that_would_wait_too_long_at_the_models_pace_is_refused_at_once(gated):
    batched = BatchedEmbedder(gated, max_wait_ms=5000)
    with ThreadPoolExecutor(2) as pool:
        _, (queued,) = ask_while_busy(batched, gated, ["queued"], pool)
        batched._pace = 6.0
        with pytest.raises(OverloadedError) as refused:
            batched.embed_queries([Query("next")])
        assert refused.value.retry_after == 6.0
        assert not queued.done()
        gated.gate.set()
    batched.close()


def test_predictions_come_one_after_the_other_and_wait_no_longer_than_queries(embedder):
    batched = BatchedEmbedder(embedder, max_wait_ms=1)
    with batched._one_at_a_time(), pytest.raises(OverloadedError):
        batched.embed_products([Product(id="1", title="red chair")], [[]])
    assert batched.embed_products([Product(id="1", title="red chair")], [[]]).shape == (1, 64)
    batched.close()


def test_everything_else_is_the_wrapped_embedders(embedder):
    batched = BatchedEmbedder(embedder)
    product = Product(id="1", title="red chair")
    assert (batched.name, batched.fingerprint, batched.dimensions) == ("colour-words", "colour-words-1", 64)
    assert np.array_equal(batched.embed_products([product], [[]]), embedder.embed_products([product], [[]]))
    assert np.array_equal(batched.embed_labels(["red"], "category"), embedder.embed_labels(["red"], "category"))
    assert batched.embed_queries([])[0].shape == (0, 64)
    batched.close()
