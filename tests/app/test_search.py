from __future__ import annotations

import pytest
from PIL import Image
from shop_samples import COLOURS, ODD_ID, publish

from app.balance import BESIDE_PHOTO
from app.errors import BadInputError, IndexUnavailableError, NotFoundError
from app.fusion import fused
from app.schema import MAX_LEVELS, MAX_NAME, MAX_VALUES, Filters, Query, Range
from app.search import MAX_GIVEN, MAX_LIMIT, clean_text, photo_box
from app.store.points import point_id

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
RED_PHOTO = Image.new("RGB", (64, 48), COLOURS["red"])


def ids(result) -> list[str]:
    return [hit.product.id for hit in result.hits]


def counts(result, key: str) -> dict[str, int]:
    return {facet.value: facet.count for facet in result.facets[key]}


def test_text_finds_the_product_it_names(published):
    assert ids(published.engine.search(Query("blue sofa"), limit=1)) == ["blue-sofa"]


def test_photo_finds_products_of_its_colour(published):
    assert set(ids(published.engine.search(Query(image=RED_PHOTO), limit=2))) == {"red-chair", "red-sofa"}


def test_photo_and_text_together_narrow_each_other(published):
    assert ids(published.engine.search(Query("sofa", RED_PHOTO), limit=1)) == ["red-sofa"]


def scores(result) -> list[tuple[str, float]]:
    return [(hit.product.id, pytest.approx(hit.score, abs=1e-6)) for hit in result.hits]


def test_the_weight_of_the_text_slides_from_the_photo_over_both_to_the_text(published):
    search, both = published.engine.search, Query("sofa", RED_PHOTO)
    assert scores(search(both, text_weight=0)) == scores(search(Query(image=RED_PHOTO)))
    assert scores(search(both, text_weight=0.5)) == scores(search(both))
    assert scores(search(both, text_weight=1)) == scores(search(Query("sofa")))
    sofa = [next(h.score for h in search(both, text_weight=w).hits if h.product.id == "blue-sofa") for w in WEIGHTS]
    assert sofa == sorted(sofa)


def test_the_parts_of_a_weighted_query_are_embedded_in_one_call(published, monkeypatch):
    asked = []
    embed = published.embedder.embed_queries
    monkeypatch.setattr(
        published.embedder, "embed_queries", lambda queries: asked.append(len(queries)) or embed(queries)
    )
    published.engine.search(Query("sofa", RED_PHOTO), text_weight=0.7)
    assert asked == [2]


@pytest.mark.parametrize(
    ("query", "like", "words"),
    [
        (Query("blue sofa"), "", 1.0),
        (Query("blue sofa", RED_PHOTO), "", BESIDE_PHOTO),
        (Query("blue sofa"), "red-chair", BESIDE_PHOTO),
        (Query("blue sofa", RED_PHOTO), "red-chair", BESIDE_PHOTO),
    ],
    ids=["words alone", "beside a photo", "beside a product", "beside a product's picture"],
)
def test_words_in_common_count_less_beside_a_photo_or_a_product(published, query, like, words):
    vector = published.engine.vector(query, like=like)
    with published.live.index() as index:
        sides = {one.point: one for one in index.candidates(vector, query.text, Filters(), 100)}
    assert any(one.share > 0 for one in sides.values())
    for hit in published.engine.search(query, like=like).hits:
        side = sides[point_id(hit.product.id)]
        assert hit.score == pytest.approx(fused(side.similarity, words * side.share), abs=1e-6)


def test_without_words_a_product_finds_what_is_like_it_itself_first(published):
    found = published.engine.search(Query(), like="red-sofa")
    assert ids(found)[0] == "red-sofa"
    assert found.hits[0].score == pytest.approx(1, abs=1e-5)
    assert set(found.facets) == {"category", "color"}


@pytest.mark.parametrize("query", [Query("blue sofa"), Query("blue sofa", RED_PHOTO)], ids=["stored vector", "picture"])
def test_a_wish_finds_another_product_like_the_given_one(published, query):
    found = ids(published.engine.search(query, like="red-sofa"))
    assert found[0] == "blue-sofa"
    assert "red-sofa" not in found
    furniture = published.engine.search(query, Filters(category=["Furniture", "Chairs"]), like="red-sofa", limit=1)
    assert ids(furniture) == ["blue-chair"]


def test_a_wish_slides_from_the_product_to_the_words(published):
    search = published.engine.search
    by_words = [hit for hit in scores(search(Query("blue chair"))) if hit[0] != "red-sofa"]
    assert scores(search(Query("blue chair"), like="red-sofa", text_weight=1)) == by_words
    by_product = [hit for hit in scores(search(Query(), like="red-sofa")) if hit[0] != "red-sofa"]
    assert scores(search(Query("blue chair"), like="red-sofa", text_weight=0)) == by_product


def test_a_product_to_search_like_has_to_be_indexed(published):
    with pytest.raises(NotFoundError, match="'nothing'"):
        published.engine.search(Query("in blue"), like="nothing")


def test_the_vector_of_a_search_is_what_its_similarities_are_of(published):
    vector = published.engine.vector(Query("not plain"), like="red-sofa")
    with published.live.index() as index:
        by_vector = index.search(vector, Filters(), 1, exclude_points=[point_id("red-sofa")])
    best = published.engine.search(Query("not plain"), like="red-sofa", limit=1).hits
    assert [(hit.product.id, hit.score) for hit in by_vector] == [(hit.product.id, hit.score) for hit in best]


def test_results_are_sorted_by_a_number_of_the_catalog(published):
    for sort, first in (("price", "red-chair"), ("-price", "red-sofa")):
        assert ids(published.engine.search(Query(image=RED_PHOTO), sort=sort))[0] == first
    with pytest.raises(BadInputError, match="cannot be sorted by 'weight'"):
        published.engine.search(Query("sofa"), sort="weight")


def test_grouped_results_show_one_of_each_design(published):
    found = ids(published.engine.search(Query("blue sofa"), group=True))
    assert found[0] == "blue-sofa"
    assert sum(product_id.endswith("sofa") for product_id in found) == 1
    assert len(found) == 4
    assert ids(published.engine.search(Query("blue sofa"), limit=2, offset=1, group=True)) == found[1:3]


def test_every_hit_fulfils_the_filters(published):
    filters = Filters(category=["Furniture"], attributes={"color": ["red", "blue"]}, ranges={"price": Range(max=100)})
    assert set(ids(published.engine.search(Query("sofa"), filters))) == {"red-chair", "blue-chair"}


def test_pages_continue_each_other(published):
    whole = ids(published.engine.search(Query("red chair"), limit=8))
    assert len(whole) == 8
    pages = [published.engine.search(Query("red chair"), limit=5, offset=offset) for offset in (0, 5)]
    assert [*ids(pages[0]), *ids(pages[1])] == whole


def test_facet_counts_lift_only_their_own_filter(published):
    filters = Filters(category=["Furniture", "Chairs"], attributes={"color": ["red"]})
    found = published.engine.search(Query("chair"), filters)
    assert ids(found) == ["red-chair"]
    assert counts(found, "color") == {"red": 1, "blue": 1, "green": 1}
    furniture = {"Furniture": 2, "Furniture > Chairs": 1, "Furniture > Sofas": 1}
    assert counts(found, "category") == {**furniture, "Lighting": 1}


def test_facets_are_counted_once_per_build_and_filters(new_service, embedder, products, monkeypatch):
    publish(new_service.store, embedder, products)
    with new_service.live.index() as index:
        asked = []
        count = index.facets
        monkeypatch.setattr(index, "facets", lambda key, *rest: asked.append(key) or count(key, *rest))
        first = new_service.engine.search(Query("chair"))
        assert new_service.engine.search(Query("sofa")).facets == first.facets
        assert asked == ["category", "color"]
        new_service.engine.search(Query("sofa"), Filters(attributes={"color": ["red"]}))
        assert asked == ["category", "color", "category"]


def test_counts_are_remembered_by_a_short_key_however_large_the_filters(new_service, embedder, products):
    publish(new_service.store, embedder, products)
    for last in ("a", "b"):
        values = ["red", *(f"{number:04}".ljust(MAX_NAME, last) for number in range(MAX_VALUES - 1))]
        new_service.engine.search(Query("chair"), Filters(attributes={"color": values}))
    keys = list(new_service.engine._counted)
    assert len(keys) == 3  # the counts of colours are those of both: their own filter is lifted
    assert max(len(part) for key in keys for part in key) <= 64


def test_variants_of_a_product_in_a_category_that_no_request_may_name(new_service, embedder, products):
    deep = ["x" * (MAX_NAME + 1)] * (MAX_LEVELS + 1)
    publish(new_service.store, embedder, [product.model_copy(update={"category": deep}) for product in products])
    assert {hit.product.id for hit in new_service.engine.variants("red-chair")} >= {"blue-chair", "green-chair"}


def test_facets_can_be_left_out(published):
    found = published.engine.search(Query("chair"), facets=False)
    assert found.facets == {}
    assert list(found.timings) == ["embed", "search", "total"]


def test_result_tells_build_and_time_per_stage(published):
    found = published.engine.search(Query("chair"))
    assert found.build == "20261121T060000-000001"
    assert list(found.timings) == ["embed", "search", "facets", "total"]
    assert found.timings["total"] >= found.timings["embed"] > 0


@pytest.mark.parametrize("text", ["", "   ", "\x00\x07\n"])
def test_an_empty_query_is_refused(published, text):
    with pytest.raises(BadInputError, match="query is empty"):
        published.engine.search(Query(text), Filters(category=["Furniture"]))


def test_a_text_over_the_limit_is_refused(published):
    with pytest.raises(BadInputError, match="10000 characters, 2000 are allowed"):
        published.engine.search(Query("x" * 10_000))


def test_an_unknown_filter_is_refused(published):
    with pytest.raises(BadInputError, match="no attribute 'shape'"):
        published.engine.search(Query("chair"), Filters(attributes={"shape": ["round"]}))


@pytest.mark.parametrize(("limit", "offset"), [(0, 0), (-1, 0), (MAX_LIMIT + 1, 0), (1, -1), (1, 10_001)])
def test_pages_outside_of_the_limits_are_refused(published, limit, offset):
    with pytest.raises(BadInputError, match="it must be"):
        published.engine.search(Query("chair"), limit=limit, offset=offset)


def test_control_characters_and_lone_surrogates_leave_the_text():
    assert clean_text(" red\x00\tchair\ud800\r\n\x1b[0m ", 100) == "red chair [0m"
    assert clean_text("椅子 👩‍👩‍👧 <b>${x}</b>", 100) == "椅子 👩‍👩‍👧 <b>${x}</b>"


def test_a_box_is_cut_to_the_photo():
    assert photo_box(Query(image=RED_PHOTO, box=(-5, 10, 30, 999))) == (0, 10, 30, 48)
    assert photo_box(Query(image=RED_PHOTO)) is None


@pytest.mark.parametrize("box", [(70, 0, 90, 20), (10, 10, 10, 20), (30, 30, 10, 10), (0, 0, float("nan"), 9)])
def test_a_box_that_marks_nothing_of_the_photo_is_refused(box):
    with pytest.raises(BadInputError, match="64 x 48"):
        photo_box(Query(image=RED_PHOTO, box=box))


def test_a_box_without_a_photo_is_refused(published):
    with pytest.raises(BadInputError, match="without a photo"):
        published.engine.search(Query("chair", box=(0, 0, 9, 9)))


def test_similar_products_are_other_designs_one_of_each(published):
    found = ids(published.engine.similar("red-chair"))
    assert len(found) == 3
    assert found[0] == "red-sofa"
    assert set(found[1:]) == {"lamp", ODD_ID}


def test_similar_products_fulfil_filters(published):
    found = published.engine.similar("red-chair", filters=Filters(attributes={"color": ["blue"]}))
    assert ids(found) == ["blue-sofa"]


def test_variants_are_the_own_group_first_and_then_the_same_kind_in_other_colours(published):
    variants = published.engine.variants
    assert {hit.product.id for hit in variants("red-chair")} == {"blue-chair", "green-chair"}
    assert variants("lamp") == []
    assert len(variants("red-sofa", limit=1)) == 1
    with pytest.raises(NotFoundError, match="'nothing'"):
        variants("nothing")


def test_recommended_products_are_near_the_liked_and_away_from_the_disliked(published):
    recommend = published.engine.recommend
    assert ids(recommend(["red-chair"])) == ids(published.engine.similar("red-chair"))
    assert set(ids(recommend(["red-chair", "blue-sofa"]))) == {"lamp", ODD_ID}
    chair = [hit for hit in recommend(["lamp"]).hits if hit.product.group_id == "chair"]
    no_furniture = [h for h in recommend(["lamp"], ["green-sofa"]).hits if h.product.group_id == "chair"]
    assert no_furniture[0].score < chair[0].score


def test_recommending_needs_known_products_and_one_that_is_liked(published):
    recommend = published.engine.recommend
    with pytest.raises(NotFoundError, match="'none', 'gone'"):
        recommend(["lamp", "none"], ["gone"])
    with pytest.raises(BadInputError, match="no liked product"):
        recommend([], ["lamp"])
    with pytest.raises(BadInputError, match="'lamp' is both"):
        recommend(["lamp"], ["lamp"])
    with pytest.raises(BadInputError, match=f"{MAX_GIVEN} are allowed"):
        recommend(["lamp"] * (MAX_GIVEN + 1))


def test_products_are_found_by_id(published):
    assert published.engine.product(ODD_ID).category == ["Lighting"]
    with pytest.raises(NotFoundError, match="'nothing'"):
        published.engine.product("nothing")
    with pytest.raises(NotFoundError, match="'nothing'"):
        published.engine.similar("nothing")


def test_without_a_published_build_the_error_says_what_to_do(new_service):
    with pytest.raises(IndexUnavailableError, match="indexer rebuild"):
        new_service.engine.search(Query("chair"))


def test_words_are_looked_up_once_however_deep_a_page_of_groups_lies(published, monkeypatch):
    with published.live.index() as index:
        asked = []
        candidates = index.candidates
        monkeypatch.setattr(index, "candidates", lambda *rest: asked.append(rest) or candidates(*rest))
        monkeypatch.setattr("app.ranking._WINDOW", 2)
        published.engine.search(Query("chair"), group=True)
    assert len(asked) == 1
