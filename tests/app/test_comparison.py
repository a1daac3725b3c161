from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image
from shop_samples import COLOURS, make_products, publish

from app.comparison import Comparison, Way
from app.errors import BadInputError, IndexUnavailableError, NotFoundError
from app.schema import Hit, Query
from app.serving import Service
from tests.conftest import ColourWordEmbedder

OLDER, NEWER, FOREIGN = (f"20261121T06000{n}-000001" for n in (1, 2, 3))


class OtherModel(ColourWordEmbedder):
    fingerprint = "another-model"


def comparison_of(service: Service) -> Comparison:
    return Comparison(service.embedder, service.live, service.store, service.settings)


@pytest.fixture
def comparison(new_service, embedder, tmp_path) -> Iterator[Comparison]:
    """Over a build without chairs that is kept, and a whole one that is published."""
    products = make_products(tmp_path)
    publish(new_service.store, OtherModel(), products, FOREIGN)
    publish(new_service.store, embedder, [product for product in products if "chair" not in product.title], OLDER)
    publish(new_service.store, embedder, products, NEWER)
    return comparison_of(new_service)


def ids(hits: list[Hit]) -> list[str]:
    return [hit.product.id for hit in hits]


def test_words_find_only_what_has_them_best_first(comparison):
    hits = comparison.search(Query("red sofa"), Way.WORDS)
    assert ids(hits)[0] == "red-sofa"
    assert {"red-chair", "blue-sofa"} < set(ids(hits))
    assert "blue-chair" not in ids(hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_meaning_scores_by_similarity_alone_and_words_raise_it(comparison):
    meaning, fused = (comparison.search(Query("red sofa"), way)[0] for way in (Way.MEANING, Way.FUSED))
    assert meaning.product.id == fused.product.id == "red-sofa"
    assert fused.score > meaning.score


def test_a_kept_build_answers_with_its_own_products(comparison):
    assert "red-chair" in ids(comparison.search(Query("red chair")))
    assert "red-chair" not in ids(comparison.search(Query("red chair"), build=OLDER))


def test_only_builds_of_the_model_are_compared(comparison):
    assert [build.build for build in comparison.builds()] == [NEWER, OLDER]
    with pytest.raises(NotFoundError, match="not kept any more"):
        comparison.search(Query("red chair"), build=FOREIGN)


def test_a_photo_is_searched_by_meaning(comparison):
    photo = Image.new("RGB", (8, 8), COLOURS["blue"])
    assert ids(comparison.search(Query(image=photo), limit=3)) == ids(
        comparison.search(Query(image=photo), Way.MEANING, limit=3)
    )


@pytest.mark.parametrize(
    ("query", "way"), [(Query(" "), Way.FUSED), (Query(image=Image.new("RGB", (8, 8))), Way.WORDS)]
)
def test_nothing_to_search_by_is_refused(comparison, query, way):
    with pytest.raises(BadInputError, match="write what you are looking for"):
        comparison.search(query, way)


def test_without_a_build_there_is_nothing_to_compare(new_service):
    with pytest.raises(IndexUnavailableError):
        comparison_of(new_service).search(Query("chair"))
