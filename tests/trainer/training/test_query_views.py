"""The views of a query: which record gives them, what they say of the hard negative, and that draws stay pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.keys import WIDTH, answer_key, group_key, id_key, padded, title_key
from trainer.data.record import MODALITIES, Item, Picture, Record
from trainer.data.splits import training_rows
from trainer.losses.columns import ALSO_RIGHT
from trainer.training.inputs import QueryView, Triplet
from trainer.training.triplets import Dropout, Recipe, TripletSource

SEATS = ("Home", "Seats")
EVEN = (1.0, 1.0, 1.0)


@pytest.fixture
def make(tmp_path) -> Callable[..., Corpus]:
    def write(records: Iterable[Record], count: int = 3) -> Corpus:
        with CorpusWriter(tmp_path, {"name": "test", "format": "shop"}) as writer:
            writer.add_catalog(
                Item(f"chair{n}", f"Chair {n}", (Picture(f"{n}.jpg"),), SEATS, group=f"g{n}") for n in range(count)
            )
            for record in records:
                writer.add(record)
        return Corpus(tmp_path)

    return write


def source_of(corpus: Corpus, views: str = "joint", mixture=EVEN, seed: int = 0, **more) -> TripletSource:
    recipe = Recipe(mixture, views=views, **more)
    return TripletSource(corpus, corpus.rows_of("train"), recipe, seed, lambda picture, title: picture.box)


def views_of(triplet: Triplet) -> dict[str, QueryView]:
    return {view.modality: view for view in triplet.queries}


def photo(name: str) -> Picture:
    return Picture(f"{name}.jpg")


def test_a_record_with_photo_and_words_gives_all_views_itself(make):
    source = source_of(make([Record("chair0", "old chair", photo("mine")), Record("chair1", "other", weight=0.0)]))
    views = views_of(source.draw(0))
    assert {name: (view.input.text, len(view.input.views), view.record) for name, view in views.items()} == {
        "image": ("", 1, 0),
        "text": ("<|title|> old chair<|/title|>", 0, 0),
        "both": ("<|title|> old chair<|/title|>", 1, 0),
    }


def test_words_of_one_record_and_a_photo_of_another_of_the_same_product_make_a_query_of_both(make):
    records = [Record("chair0", "old chair"), Record("chair0", picture=photo("mine")), Record("chair1", "other")]
    source = source_of(make(records), mixture=(0.0, 1.0, 0.0))
    drawn = next(t for t in map(source.draw, range(20)) if t.record == 0)
    views = views_of(drawn)
    assert drawn.queries[0].modality == "text"
    assert views["image"].record == 1
    assert views["both"].input.text == "<|title|> old chair<|/title|>"
    assert [view.location for view, _ in views["both"].input.views] == ["mine.jpg"]


def test_what_no_record_of_the_product_gives_is_absent(make):
    records = [Record("chair0", "old chair"), Record("chair1", picture=photo("other")), Record("chair2", "third")]
    source = source_of(make(records))
    for triplet in map(source.draw, range(30)):
        modality = "image" if triplet.record == 1 else "text"
        assert [view.modality for view in triplet.queries] == [modality]


def test_a_query_for_both_alone_lends_neither_its_photo_nor_its_words(make):
    blue = Record("chair0", "the same in blue", photo("red"), modalities=("both",))
    source = source_of(make([blue, Record("chair1", "other")]), mixture=(0.0, 0.0, 1.0))
    assert [view.modality for view in source.draw(0).queries] == ["both"]


def test_records_without_weight_and_labels_are_lent_to_no_other(make):
    records = [
        Record("chair0", picture=photo("mine"), modalities=("image",)),
        Record("chair0", "never drawn", weight=0.0),
        Record("chair0", "Home > Seats", segment="category"),
        Record("chair1", "other"),
    ]
    source = source_of(make(records))
    drawn = [t for t in map(source.draw, range(60)) if id_key("chair0") in t.keys[0]]
    texts = {t.record: views_of(t)["text"].input.text if "text" in views_of(t) else "" for t in drawn}
    assert texts == {0: "", 2: "<|category|> Home > Seats<|/category|>"}
    assert all("both" not in views_of(t) for t in drawn)


def test_records_are_lent_as_often_as_they_weigh(make):
    words = [Record("chair0", f"words {weight}", weight=weight) for weight in (1.0, 3.0)]
    others = [Record("chair0", picture=photo("mine")), Record("chair1", "other")]
    source = source_of(make([*words, *others]), mixture=(1.0, 0.0, 0.0))
    counts = Counter(views_of(source.draw(number))["text"].record for number in range(800))
    assert counts[1] / counts[0] == pytest.approx(3, rel=0.25)


def test_keys_of_a_view_are_those_of_the_records_that_gave_it(make):
    records = [
        Record("chair0", "a chair", meaning="kind:chair"),
        Record("chair0", picture=photo("mine"), also_right=("chair2",)),
        Record("chair1", "other", weight=0.0),
    ]
    views = views_of(source_of(make(records), mixture=(0.0, 1.0, 0.0)).draw(0))
    own = [id_key("chair0"), group_key("g0"), title_key("Chair 0")]
    assert list(views["image"].keys) == list(padded([*own, id_key("chair2")]))
    assert list(views["text"].keys) == list(padded([*own, answer_key("kind:chair")]))
    assert list(views["both"].keys) == list(padded([*own, answer_key("kind:chair"), id_key("chair2")]))


def test_a_view_of_another_record_says_where_the_hard_negative_answers_it_too(make):
    red = Item("red", "Red chair", (photo("r"),), SEATS, group="g", answers=("kind:chair",))
    records = [
        Record("chair0", "in blue", photo("mine"), negative=red, modalities=("both",)),
        Record("chair0", "a chair", meaning="kind:chair"),
        Record("chair0", picture=photo("blue")),
        Record("chair1", "other"),
    ]
    source = source_of(make(records), mixture=(0.0, 0.0, 1.0))
    triplet = source.draw(0)
    views = views_of(triplet)
    assert triplet.keys[2][0] == id_key("red")
    assert {name for name, view in views.items() if ALSO_RIGHT in view.keys} == {"text"}
    assert all(len(view.keys) == WIDTH for view in views.values())


def test_a_joint_step_has_the_products_and_the_drawn_queries_of_the_mixture(corpus):
    train = training_rows(corpus).train
    sources = [
        TripletSource(corpus, train, Recipe(views=views), 3, lambda picture, title: picture.box)
        for views in ("mixture", "joint")
    ]
    for number in range(40):
        mixture, joint = (source.draw(number) for source in sources)
        assert joint.queries[0] == mixture.queries[0]
        assert (joint.positive, joint.negative, joint.keys) == (mixture.positive, mixture.negative, mixture.keys)


@pytest.mark.parametrize("views", ["joint", "budget"])
def test_draws_of_views_depend_on_seed_number_and_attempt_alone(corpus, views):
    train = training_rows(corpus).train
    first, again, other = (
        TripletSource(corpus, train, Recipe(views=views, augment=True), seed, lambda picture, title: picture.box)
        for seed in (7, 7, 8)
    )
    forward = [first.draw(number) for number in range(30)]
    assert [again.draw(number) for number in reversed(range(30))] == forward[::-1]
    assert [other.draw(number) for number in range(30)] != forward
    assert first.draw(3, attempt=1) == again.draw(3, attempt=1) != first.draw(3)


def test_a_budget_asks_in_one_of_the_ways_that_there_are_with_equal_chances(make):
    records = [Record(f"chair{n}", f"words {n}", photo(f"photo{n}")) for n in range(3)]
    source = source_of(make(records), "budget", mixture=(1.0, 0.0, 0.0))
    triplets = [source.draw(number) for number in range(900)]
    assert {len(triplet.queries) for triplet in triplets} == {1}
    counts = Counter(triplet.queries[0].modality for triplet in triplets)
    assert [counts[name] / 900 for name in MODALITIES] == pytest.approx([1 / 3] * 3, abs=0.05)


def test_a_budget_draws_views_by_their_chances_and_only_those_that_there_are(make):
    records = [Record(f"chair{n}", f"words {n}", photo(f"photo{n}")) for n in range(2)] + [Record("chair2", "words 2")]
    source = source_of(make(records), "budget", mixture=(0.0, 1.0, 0.0))
    drawn = [source.draw(number, chances=(3.0, 1.0, 0.5)) for number in range(900)]
    views = {
        product: Counter(one.queries[0].modality for one in drawn if one.keys[1][0] == id_key(product))
        for product in ("chair0", "chair2")
    }
    shares = [views["chair0"][name] / views["chair0"].total() for name in MODALITIES]
    assert shares == pytest.approx([3 / 4.5, 1 / 4.5, 0.5 / 4.5], abs=0.06)
    assert set(views["chair2"]) == {"text"}


def test_chances_change_neither_products_nor_the_draws_of_other_ways_to_ask(make):
    corpus = make([Record(f"chair{n}", f"words {n}", photo(f"photo{n}")) for n in range(3)])
    budget, mixture = source_of(corpus, "budget"), source_of(corpus, "mixture")
    for number in range(20):
        one, other = budget.draw(number, chances=(9.0, 1.0, 1.0)), budget.draw(number)
        assert (one.positive, one.negative, one.document_keys) == (other.positive, other.negative, other.document_keys)
        assert mixture.draw(number, chances=(9.0, 1.0, 1.0)) == mixture.draw(number)


def test_pictures_alone_are_asked_in_their_own_way(make):
    source = source_of(make([Record(f"chair{n}", f"words {n}", photo(f"photo{n}")) for n in range(3)]), intra=True)
    triplet = source.of_pictures().draw(0)
    assert [view.modality for view in triplet.queries] == ["image"]
    assert triplet.words == ""


def test_the_words_of_a_product_hold_its_title_also_where_the_positive_dropped_it(make):
    corpus = make([Record(f"chair{n}", f"words {n}") for n in range(3)])
    source = source_of(corpus, intra=True, dropout=Dropout(category=1.0, title=0.5))
    triplets = [source.draw(number) for number in range(20)]
    assert {triplet.positive.text == "" for triplet in triplets} == {True, False}
    for triplet in triplets:
        item = corpus.item(corpus.record(triplet.record).positive)
        assert triplet.words == f"<|title|> {item.title}<|/title|>"
        assert list(triplet.product_keys) == list(
            padded([id_key(item.id), group_key(item.group), title_key(item.title)])
        )


def test_a_product_without_pictures_has_nothing_to_align(tmp_path):
    with CorpusWriter(tmp_path, {"name": "test", "format": "shop"}) as writer:
        writer.add_catalog(Item(f"chair{n}", f"Chair {n}", (), SEATS) for n in range(3))
        writer.add(Record("chair0", "words"))
        writer.add(Record("chair1", "other"))
    triplet = source_of(Corpus(tmp_path), intra=True).draw(0)
    assert (triplet.words, triplet.product_keys) == ("", ())


def test_columns_that_the_data_cannot_give_are_known(make):
    assert source_of(make([Record("chair0", "words"), Record("chair1", "x")])).possible_columns == {"text_query"}


def test_photos_and_words_make_a_column_of_both_possible(make):
    records = [Record("chair0", "words"), Record("chair1", picture=photo("x"))]
    assert source_of(make(records)).possible_columns == {"image_query", "text_query", "both_query"}
