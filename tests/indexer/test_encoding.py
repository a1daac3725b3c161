"""Batches by size, and what becomes of them when memory is short."""

import logging

import pytest

from app.errors import ModelError

OUT_OF_MEMORY = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.")


class Tight:
    """Has the test embedder run out of memory for more than ``limit`` products, and for some always."""

    def __init__(self, shop, limit, hopeless=(), error=OUT_OF_MEMORY):
        self.embed, self.limit, self.hopeless, self.error = shop.embedder.embed_products, limit, hopeless, error
        self.asked = []
        shop.embedder.embed_products = self

    def __call__(self, products, images):
        self.asked.append(len(products))
        if len(products) > self.limit or any(product.id in self.hopeless for product in products):
            raise self.error
        return self.embed(products, images)


@pytest.fixture
def roomy(shop):
    shop.embedder.max_tokens = 8
    return shop


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: out of memory"), MemoryError()])
def test_a_batch_that_is_too_large_for_the_memory_is_halved_and_later_ones_are_no_larger(roomy, error, caplog):
    caplog.set_level(logging.WARNING)
    tight = Tight(roomy, limit=2, error=error)
    outcome = roomy.rebuild()
    assert (outcome.products, outcome.embedded, outcome.report.problems) == (10, 10, [])
    assert tight.asked == [8, 4, 2, 2, 4, 2, 2, 2]
    assert "batches have up to 2 tokens from now on" in caplog.text


def test_a_product_without_enough_memory_for_it_alone_is_rejected_and_the_batches_stay_large(roomy):
    tight = Tight(roomy, limit=8, hopeless=("chair-3",))
    outcome = roomy.rebuild()
    (problem,) = outcome.report.problems
    assert (outcome.products, problem.severity, problem.id, problem.field) == (9, "reject", "chair-3", "vector")
    assert "too little memory" in problem.reason
    assert "smaller pictures" in problem.remedy
    assert tight.asked[0] == 8
    assert tight.asked[-1] == 2


def test_too_little_memory_for_any_product_ends_the_run(roomy):
    Tight(roomy, limit=0)
    with pytest.raises(
        ModelError, match="all 8 products of a batch failed, and so does a plain title: CUDA out of mem"
    ):
        roomy.rebuild()
    assert roomy.store.published() is None


def test_products_that_failed_before_do_not_look_like_a_broken_model(roomy):
    Tight(roomy, limit=8, hopeless=("chair-3", "chair-4"), error=ValueError("strange characters"))
    assert roomy.rebuild().products == 8
    outcome = roomy.rebuild()
    assert (outcome.products, outcome.changed) == (8, False)
    assert {problem.id for problem in outcome.report.problems} == {"chair-3", "chair-4"}


def test_batches_are_limited_by_tokens_with_padding_not_by_their_number(shop, monkeypatch):
    shop.embedder.max_tokens = 60
    tokens = {f"chair-{place}": 20 if place < 2 else 5 for place in range(10)}
    monkeypatch.setattr(shop.embedder, "tokens", lambda product, images: tokens[product.id])
    for row in shop.rows[:2]:
        row["title"] += " with a longer name"
    tight = Tight(shop, limit=100)
    shop.rebuild()
    assert tight.asked == [3, 7]


def test_a_product_beyond_the_limit_is_embedded_alone(shop, monkeypatch):
    monkeypatch.setattr(shop.embedder, "tokens", lambda product, images: 50)
    tight = Tight(shop, limit=100)
    assert shop.rebuild().embedded == 10
    assert tight.asked == [1] * 10


def test_the_time_of_a_rebuild_is_told_by_stage(shop):
    outcome = shop.rebuild()
    stages = ["read", "decode", "model", "encode", "write", "compare", "load", "optimise", "verify"]
    assert sorted(outcome.clock.seconds) == sorted(stages)
    assert all(seconds > 0 for seconds in outcome.clock.seconds.values())
    assert sum(outcome.clock.seconds.values()) <= outcome.clock.total
    assert outcome.clock.beside > 0
