from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from shop_samples import COLOURS, make_products, publish

import app.moon
from app.comparison import Comparison, Way
from app.errors import BadInputError, IndexUnavailableError, ModelError, NotFoundError
from app.matryoshka import ShortEmbedder
from app.schema import Hit, Query
from app.serving import Service
from app.settings import Settings
from tests.conftest import ColourWordEmbedder

OLDER, NEWER, FOREIGN, SHORT, FOREIGN_SHORT = (f"20261121T06000{n}-000001" for n in range(1, 6))
SECOND = "models/second"


class OtherModel(ColourWordEmbedder):
    """Takes blue for red in queries."""

    name = "other"
    fingerprint = "another-model"

    def embed_queries(self, queries):
        return super().embed_queries([Query(query.text.replace("red", "blue"), query.image) for query in queries])


def comparison_of(service: Service, **settings: object) -> Comparison:
    return Comparison(service.embedder, service.live, service.store, service.settings.model_copy(update=settings))


@pytest.fixture
def comparison(new_service, embedder, tmp_path) -> Iterator[Comparison]:
    """Over a build without chairs and one of another model that are kept, and a whole one that is published."""
    products = make_products(tmp_path)
    publish(new_service.store, OtherModel(), products, FOREIGN)
    publish(new_service.store, embedder, [product for product in products if "chair" not in product.title], OLDER)
    publish(new_service.store, embedder, products, NEWER)
    return comparison_of(new_service)


@pytest.fixture
def loaded(monkeypatch) -> list[Settings]:
    """The settings of every model that is loaded, each of which is the other one."""
    asked: list[Settings] = []

    def load(settings: Settings) -> OtherModel:
        asked.append(settings)
        return OtherModel()

    monkeypatch.setattr(app.moon, "load_encoder", load, raising=False)
    return asked


def failing_with(error: Exception) -> Callable[[Settings], OtherModel]:
    def load(settings: Settings) -> OtherModel:
        raise error

    return load


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


def test_every_kept_build_but_the_searched_one_can_be_the_other(comparison):
    assert [(build.build, comparison.is_of_main_model(build)) for build in comparison.others()] == [
        (FOREIGN, False),
        (OLDER, True),
    ]
    with pytest.raises(NotFoundError, match="not kept any more"):
        comparison.search(Query("red chair"), build="20261121T060009-000001")


def test_a_build_of_another_model_asks_for_its_checkpoint(comparison, loaded):
    with pytest.raises(ModelError, match=rf"{FOREIGN} was made by another model, other .*set MOON_COMPARE_MODEL"):
        comparison.search(Query("red chair"), build=FOREIGN)
    assert loaded == []


def test_the_second_model_answers_for_its_build_and_is_loaded_once_and_late(comparison, new_service, loaded):
    both = comparison_of(new_service, compare_model=SECOND)
    assert ids(both.search(Query("red chair")))[0] == "red-chair"
    assert ids(both.search(Query("red chair"), build=OLDER))[0] == "red-sofa"
    assert loaded == []
    for words in ("red sofa", "red chair"):
        assert ids(both.search(Query(words), Way.MEANING, FOREIGN))[0] == words.replace("red ", "blue-")
    assert [(settings.model, settings.device) for settings in loaded] == [(SECOND, "auto")]


def test_a_build_of_neither_model_says_so(comparison, new_service, loaded, monkeypatch):
    monkeypatch.setattr(OtherModel, "fingerprint", "a third model")
    with pytest.raises(ModelError, match="made by another model, other "):
        comparison_of(new_service, compare_model=SECOND).search(Query("red chair"), build=FOREIGN)


@pytest.mark.parametrize("error", [ModelError("models/second: no such folder"), RuntimeError("out of memory")])
def test_a_second_model_that_cannot_be_loaded_is_tried_again(comparison, new_service, loaded, monkeypatch, error):
    both = comparison_of(new_service, compare_model=SECOND)
    with monkeypatch.context() as broken:
        broken.setattr(app.moon, "load_encoder", failing_with(error), raising=False)
        with pytest.raises(ModelError, match=f"the model of MOON_COMPARE_MODEL cannot be used: {error}"):
            both.search(Query("red chair"), build=FOREIGN)
    assert ids(both.search(Query("red chair"), Way.MEANING, FOREIGN))[0] == "blue-chair"


def test_builds_of_fewer_numbers_are_searched_by_the_whole_model(comparison, new_service, embedder, products, loaded):
    publish(new_service.store, ShortEmbedder(embedder, 48), products, SHORT)
    publish(new_service.store, ShortEmbedder(OtherModel(), 48), products, FOREIGN_SHORT)
    new_service.store.publish(NEWER)
    both = comparison_of(new_service, compare_model=SECOND)
    for build, model in ((SHORT, embedder), (FOREIGN_SHORT, OtherModel())):
        hits = both.search(Query("red sofa"), Way.MEANING, build)
        query = ShortEmbedder(model, 48).embed_queries([Query("red sofa")])[0][0]
        index = new_service.store.open(build)
        np.testing.assert_allclose(
            [hit.score for hit in hits], np.sort(index.vectors(ids(hits)) @ query)[::-1], atol=1e-5
        )
        index.close()


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


def test_words_in_common_count_less_beside_a_photo_as_in_the_shops_search(comparison, new_service):
    photo = Image.new("RGB", (64, 48), COLOURS["red"])
    for query in (Query("blue sofa", photo), Query("blue sofa")):
        searched = new_service.engine.search(query, limit=12)
        compared = comparison.search(query, Way.FUSED)
        assert [(hit.product.id, pytest.approx(hit.score, abs=1e-6)) for hit in searched.hits] == [
            (hit.product.id, hit.score) for hit in compared
        ]
