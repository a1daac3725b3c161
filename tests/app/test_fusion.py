from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import fusion
from app.fusion import best_first, fused, fused_matches
from app.schema import Filters, Product
from app.store.base import Candidate, Index, Manifest, Point
from app.store.edge import EdgeStore
from app.store.points import point_id
from app.store.words import mean_length, text_length

COUNT = 30
similarities = st.floats(-1, 1)
shares = st.floats(0, 1)


@given(similarities, shares)
def test_words_raise_a_similarity_towards_one(similarity: float, share: float):
    assert similarity - 1e-12 <= fused(similarity, share) <= 1


@given(similarities)
def test_without_common_words_the_similarity_stays(similarity: float):
    assert fused(similarity, 0.0) == pytest.approx(similarity)


@given(similarities, similarities, shares)
def test_among_products_with_the_same_words_the_more_similar_one_is_never_behind(a: float, b: float, share: float):
    assert (fused(a, share) >= fused(b, share)) or a < b


def test_candidates_come_best_first_and_in_the_same_order_every_time():
    candidates = [
        Candidate("b", 0.2, 0.0),
        Candidate("c", 0.2, 0.5),
        Candidate("d", 0.9, 0.0),
        Candidate("a", 0.2, 0.0),
    ]
    assert [key for key, _ in best_first(candidates)] == ["d", "c", "a", "b"]
    assert best_first(candidates[::-1]) == best_first(candidates)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Numbered lamps in two colours, every second of oak, with random vectors."""
    products = [
        Product(
            id=f"lamp-{i:02}", title=f"{'red' if i % 3 else 'blue'} lamp number {i}", category=[("Oak", "Steel")[i % 2]]
        )
        for i in range(COUNT)
    ]
    store = EdgeStore(tmp_path_factory.mktemp("fusion"))
    manifest = Manifest(
        build="b1",
        created=datetime.now(UTC),
        model="random",
        fingerprint="random",
        dimensions=16,
        catalog="",
        catalog_hash="",
        products=COUNT,
        mean_words=mean_length(map(text_length, products)),
    )
    with store.create(manifest) as writer:
        writer.add([Point(product, unit(seed)) for seed, product in enumerate(products)])
        writer.finish(manifest)
    index = store.open(manifest.build)
    yield index
    index.close()


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=16).astype(np.float32)
    return vector / np.linalg.norm(vector)


def hits(index: Index, text: str, limit: int, offset: int = 0, filters: Filters | None = None) -> list[tuple]:
    found = fused_matches(index, unit(1000), text, filters or Filters())(limit, offset)
    return [(hit.product.id, hit.score) for hit in found]


def test_words_lift_a_product_from_where_its_meaning_puts_it(index: Index):
    by_meaning = [product_id for product_id, _ in hits(index, "", COUNT)]
    assert by_meaning.index("lamp-17") > 3
    by_words = [product_id for product_id, _ in hits(index, "red lamp number 17", COUNT)]
    assert by_words.index("lamp-17") < by_meaning.index("lamp-17") / 2


def test_scores_fall_and_stay_between_minus_one_and_one(index: Index):
    scores = [score for _, score in hits(index, "red lamp", COUNT)]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)


@pytest.mark.parametrize("depth", [1, 5, 100])
def test_pages_continue_each_other_to_the_last_product(index: Index, depth: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fusion, "DEPTH", depth)
    whole = hits(index, "red lamp number 3", 100)
    assert len({product_id for product_id, _ in whole}) == len(whole) == index.count(Filters())
    pages = [hit for offset in range(0, COUNT + 7, 7) for hit in hits(index, "red lamp number 3", 7, offset)]
    assert [product_id for product_id, _ in pages] == [product_id for product_id, _ in whole]


def test_every_hit_fulfils_the_filters(index: Index):
    found = hits(index, "red lamp", 100, filters=Filters(category=["Oak"]))
    assert sorted(product_id for product_id, _ in found) == [f"lamp-{i:02}" for i in range(0, COUNT, 2)]


def test_a_text_without_words_is_searched_by_meaning(index: Index):
    by_meaning = [(hit.product.id, hit.score) for hit in index.search(unit(1000), Filters(), 5)]
    assert hits(index, "!?", 5) == by_meaning


@pytest.mark.parametrize("depth", [1, 5, 100])
def test_a_product_can_be_left_out_of_all_pages(index: Index, depth: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fusion, "DEPTH", depth)
    text = "red lamp number 17"
    wanted = [product_id for product_id, _ in hits(index, text, 100) if product_id != "lamp-17"]
    left_out = fused_matches(index, unit(1000), text, Filters(), exclude_points=[point_id("lamp-17")])
    pages = [hit.product.id for offset in range(0, COUNT + 7, 7) for hit in left_out(7, offset)]
    assert sorted(pages) == sorted(wanted)
    assert pages[:depth] == wanted[:depth]
