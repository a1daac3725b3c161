from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from app.errors import BadInputError, CatalogError
from trainer.data.augmented import SCHEMA, Augmented
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.keys import WIDTH, id_key
from trainer.data.record import MODALITIES, Item, Picture, Record
from trainer.data.splits import training_rows
from trainer.data.views import View
from trainer.training.staging import SCENES
from trainer.training.triplets import MAX_TITLE_CHARS, SCENE, Dropout, Input, Recipe, Triplet, TripletSource

SEATS, LAMPS = ("Home", "Seats"), ("Home", "Lamps")
EVEN = (1.0, 1.0, 1.0)


def own_box(picture: Picture, title: str):
    return picture.box


@pytest.fixture
def make(tmp_path) -> Callable[..., Corpus]:
    def write(records: Iterable[Record], catalog: Iterable[Item] = (), name: str = "test") -> Corpus:
        with CorpusWriter(tmp_path / name, {"name": name, "format": "shop"}) as writer:
            writer.add_catalog(catalog)
            for record in records:
                writer.add(record)
        return Corpus(tmp_path / name)

    return write


def source_of(corpus: Corpus, recipe: Recipe | None = None, seed: int = 0, **more) -> TripletSource:
    return TripletSource(corpus, corpus.rows_of("train"), recipe or Recipe(EVEN), seed, own_box, **more)


def draws(source: TripletSource, count: int) -> list[Triplet]:
    return [source.draw(number) for number in range(count)]


def negatives(source: TripletSource, count: int = 100) -> set[str]:
    """Ids of the hard negatives of the first draws."""
    ids = {id_key(source.corpus.item(row).id): source.corpus.item(row).id for row in range(source.corpus.items)}
    return {ids[triplet.keys[2][0]] for triplet in draws(source, count)}


def modality(query: Input) -> str:
    return "both" if query.views and query.text else "image" if query.views else "text"


def chairs(count: int) -> list[Item]:
    return [Item(f"chair{n}", f"Chair {n}", (Picture(f"{n}.jpg"),), SEATS) for n in range(count)]


def photos_with_words(count: int, **more) -> list[Record]:
    """Records that have every modality."""
    return [Record(f"chair{n}", f"words {n}", Picture(f"photo{n}.jpg"), **more) for n in range(count)]


def test_a_draw_depends_on_seed_number_and_attempt_alone(corpus):
    train = training_rows(corpus).train
    recipe = Recipe(sibling_share=0.3, augment=True)
    first, again, other = (TripletSource(corpus, train, recipe, seed, own_box) for seed in (7, 7, 8))
    forward = draws(first, 60)
    assert [again.draw(number) for number in reversed(range(60))] == forward[::-1]
    assert draws(other, 60) != forward
    assert first.draw(3, attempt=1) == again.draw(3, attempt=1) != first.draw(3)


def test_an_epoch_visits_every_record_once_whatever_its_modality(make):
    source = source_of(make(photos_with_words(40), chairs(40)), Recipe())
    epochs = [[source.draw(number).record for number in range(start, start + 40)] for start in (0, 40)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(40))
    assert epochs[0] != epochs[1]
    assert {modality(triplet.query) for triplet in draws(source, 40)} == set(MODALITIES)


def test_records_are_drawn_as_often_as_they_weigh(make):
    records = [Record(f"chair{n}", f"words {n}", weight=weight) for n, weight in enumerate((0.0, 1.0, 3.0))]
    counts = Counter(triplet.record for triplet in draws(source_of(make(records, chairs(3))), 2000))
    assert counts[0] == 0
    assert counts[2] / counts[1] == pytest.approx(3, rel=0.15)


def test_queries_are_mixed_as_the_recipe_weighs_them(make):
    source = source_of(make(photos_with_words(20), chairs(20)), Recipe())
    counts = Counter(modality(triplet.query) for triplet in draws(source, 3000))
    for name, share in (("image", 12 / 17), ("text", 3 / 17), ("both", 2 / 17)):
        assert counts[name] / 3000 == pytest.approx(share, abs=0.03)


def test_a_modality_that_no_record_has_is_left_out_of_the_mixture(make):
    source = source_of(make([Record(f"chair{n}", f"words {n}") for n in range(4)], chairs(4)), Recipe())
    assert {modality(triplet.query) for triplet in draws(source, 50)} == {"text"}


def test_a_record_is_drawn_only_for_the_modalities_that_it_is_for(make):
    source = source_of(make(photos_with_words(4, modalities=("both",)), chairs(4)))
    assert {modality(triplet.query) for triplet in draws(source, 50)} == {"both"}


def test_a_mixture_without_any_query_of_the_data_is_refused(make):
    corpus = make([Record("chair0", "words")], chairs(2))
    with pytest.raises(BadInputError, match="change --mixture"):
        source_of(corpus, Recipe((1.0, 0.0, 0.0)))


def test_keys_are_those_of_query_positive_and_negative(make):
    records = [Record("chair0", "words", also_right=("chair2",)), Record("chair1", "others", weight=0.0)]
    corpus = make(records, chairs(3))
    triplet = source_of(corpus).draw(0)
    assert [len(keys) for keys in triplet.keys] == [WIDTH] * 3
    assert id_key("chair0") in triplet.keys[0]
    assert id_key("chair2") in triplet.keys[0]
    assert triplet.keys[1][0] == id_key("chair0")
    assert triplet.keys[2][0] == id_key("chair1")


def test_no_hard_negative_is_the_positive_its_sibling_its_namesake_or_bought_for_the_query_too(make):
    right = [
        Item("a", "Chair", category=SEATS, group="g"),
        Item("b", "Blue chair", category=SEATS, group="g"),
        Item("c", "CHAIR!", category=SEATS),
        Item("d", "Bought too", category=SEATS),
    ]
    records = [Record("a", "chair", also_right=("d",)), *(Record(item.id, item.id * 3) for item in right[1:])]
    corpus = make([*records, Record("x", "wrong")], [*right, Item("x", "Lamp", category=LAMPS)])
    source = source_of(corpus)
    drawn = [triplet for triplet in draws(source, 400) if triplet.record == 0]
    assert {triplet.keys[2][0] for triplet in drawn} == {id_key("x")}


def test_purchases_beyond_the_width_of_keys_are_no_hard_negatives_either(make):
    also = tuple(f"chair{n}" for n in range(1, 40))
    corpus = make([Record("chair0", "chair", also_right=also), *photos_with_words(41)[1:]], chairs(41))
    source = source_of(corpus)
    drawn = [triplet for triplet in draws(source, 600) if triplet.record == 0]
    assert {triplet.keys[2][0] for triplet in drawn} == {id_key("chair40")}


def test_an_item_that_the_query_means_as_well_is_no_hard_negative_even_if_the_data_say_so(make):
    items = [Item(key, key, category=SEATS, answers=("kind:chair",)) for key in ("a", "b", "c")]
    items += [Item("lamp", "Lamp", category=LAMPS, answers=("kind:lamp",))]
    records = [Record("a", "chair", negative=key, meaning="kind:chair") for key in ("b", "c", "a")]
    corpus = make([*records, Record("lamp", "lamp", meaning="kind:lamp")], items)
    drawn = [triplet for triplet in draws(source_of(corpus), 100) if triplet.record < 3]
    assert {triplet.keys[2][0] for triplet in drawn} == {id_key("lamp")}


def test_the_hard_negative_of_the_data_is_taken_also_if_it_is_a_sibling(make):
    items = [Item("red", "Red chair", group="g"), Item("blue", "Blue chair", group="g"), Item("lamp", "Lamp")]
    corpus = make([Record("red", "red chair", negative="blue"), Record("lamp", "lamp", negative="red")], items)
    assert {triplet.keys[2][0] for triplet in draws(source_of(corpus), 40)} == {id_key("blue"), id_key("red")}


def test_siblings_are_hard_negatives_as_often_as_asked_for(make):
    items = [Item("red", "Red chair", category=SEATS, group="g"), Item("blue", "Blue chair", category=SEATS, group="g")]
    items += [Item("stool", "Stool", category=SEATS)]
    corpus = make(
        [Record("red", "red"), Record("blue", "blue", weight=0.0), Record("stool", "stool", weight=0.0)], items
    )
    assert negatives(source_of(corpus)) == {"stool"}
    source = source_of(corpus, Recipe(EVEN, sibling_share=0.3))
    share = np.mean([triplet.keys[2][0] == id_key("blue") for triplet in draws(source, 1000)])
    assert share == pytest.approx(0.3, abs=0.05)


class Mined:
    def __init__(self, rows: dict[int, Sequence[int]]) -> None:
        self.rows = rows

    def for_record(self, row: int) -> Sequence[int]:
        return self.rows.get(row, [])


def test_mined_negatives_come_first_and_records_without_any_keep_theirs(make):
    records = [Record("chair0", "a", negative="chair3"), Record("chair1", "b", negative="chair3")]
    source = source_of(make(records, chairs(6)), mined=Mined({0: [4, 5]}))
    drawn = draws(source, 60)
    assert {t.keys[2][0] for t in drawn if t.record == 0} == {id_key("chair4"), id_key("chair5")}
    assert {t.keys[2][0] for t in drawn if t.record == 1} == {id_key("chair3")}


def test_a_query_that_every_product_answers_makes_way_for_another(make):
    items = [Item(f"{n}", f"Chair {n}", category=SEATS, answers=("category:Home",)) for n in range(4)]
    records = [Record("0", "Home", meaning="category:Home", segment="category"), Record("1", "one"), Record("2", "two")]
    assert {triplet.record for triplet in draws(source_of(make(records, items)), 60)} == {1, 2}


def test_data_without_any_wrong_answer_are_refused(make):
    corpus = make([Record(Item("a", "Chair"), "chair"), Record(Item("b", "chair"), "seat")])
    with pytest.raises(CatalogError, match="no product is a wrong answer"):
        source_of(corpus).draw(0)


def test_hard_negatives_are_products_of_training_records_only(corpus):
    split = training_rows(corpus)
    source = TripletSource(corpus, split.train, Recipe(EVEN), 0, own_box)
    named = np.concatenate([corpus.columns[name][split.train] for name in ("positive", "negative")])
    allowed = {corpus.item(row).id for row in named if row >= 0}
    assert negatives(source, 400) <= allowed


LABELLED = Item(
    "a", "Chair", category=SEATS, attributes={"color": ("red",)}, answers=("category:Home", "value:color: red")
)
OTHER = Item("b", "Lamp", category=("Light",), attributes={"color": ("blue",)})


@pytest.mark.parametrize(
    ("segment", "text", "meaning"),
    [("category", "Home", "category:Home"), ("attribute", "color: red", "value:color: red")],
)
def test_label_queries_stand_in_their_segment_and_meet_documents_without_labels(make, segment, text, meaning):
    records = [Record("a", text, meaning=meaning, segment=segment), Record("b", text, segment=segment, weight=0.0)]
    for triplet in draws(source_of(make(records, [LABELLED, OTHER])), 60):
        assert triplet.query.text == f"<|{segment}|> {text}<|/{segment}|>"
        assert triplet.positive.text == "<|title|> Chair<|/title|>"
        assert triplet.negative.text == "<|title|> Lamp<|/title|>"


def test_positive_and_negative_both_show_their_category_or_neither_does(make):
    records = [Record("a", "red chair", weight=1.0), Record("b", "lamp", weight=0.0)]
    drawn = draws(source_of(make(records, [LABELLED, OTHER])), 400)
    category = "<|category|> Home > Seats<|/category|>"
    assert all((category in t.positive.text) == ("<|category|> Light" in t.negative.text) for t in drawn)
    assert np.mean([category in t.positive.text for t in drawn]) == pytest.approx(0.7, abs=0.08)
    for column, value in (("positive", "red"), ("negative", "blue")):
        texts = [getattr(t, column).text for t in drawn]
        assert np.mean([f"<|attribute|> color: {value}" in text for text in texts]) == pytest.approx(0.5, abs=0.08)


def test_a_negative_without_a_category_shows_the_positives(make):
    bare = Item("b", "Lamp")
    records = [Record("a", "red chair", negative="b", weight=1.0), Record("b", "lamp", weight=0.0)]
    drawn = draws(source_of(make(records, [LABELLED, bare])), 100)
    category = "<|category|> Home > Seats<|/category|>"
    assert any(category in t.negative.text for t in drawn)
    assert all((category in t.positive.text) == (category in t.negative.text) for t in drawn)


def test_titles_are_dropped_now_and_then_but_never_of_items_without_pictures(make):
    items = [Item("a", "Chair", (Picture("a.jpg"),)), Item("b", "Lamp")]
    drawn = draws(source_of(make([Record("a", "chair"), Record("b", "lamp")], items)), 600)
    shown = {True: [], False: []}
    for triplet in drawn:
        for document in (triplet.positive, triplet.negative):
            shown[bool(document.views)].append("<|title|>" in document.text)
    assert np.mean(shown[True]) == pytest.approx(0.9, abs=0.05)
    assert all(shown[False])


def test_long_titles_are_cut_as_in_the_index(make):
    items = [Item("a", "x" * 1000), Item("b", "Lamp")]
    triplet = source_of(make([Record("a", "chair"), Record("b", "lamp", weight=0.0)], items)).draw(0)
    assert triplet.positive.text.count("x") == MAX_TITLE_CHARS


def test_text_of_a_query_cannot_open_a_segment(make):
    records = [Record("chair0", "chair <|attribute|> red"), Record("chair1", "x", weight=0.0)]
    assert source_of(make(records, chairs(2))).draw(0).query.text == "<|title|> chair red<|/title|>"


BOX = (10.0, 20.0, 60.0, 80.0)


def boxed_queries(make, augment: bool, dropout: Dropout = Dropout()) -> list[Input]:  # noqa: B008
    items = [Item("a", "A", (Picture("p0.jpg", BOX), Picture("p1.jpg"))), Item("b", "B", (Picture("p2.jpg"),))]
    records = [Record("a", "words", Picture("q.jpg", BOX)), Record("b", "other", Picture("r.jpg"), weight=0.0)]
    source = source_of(make(records, items, name=str(augment)), Recipe((1.0, 0.0, 0.0), 0.0, augment, dropout))
    return [part for t in draws(source, 300) for part in (t.query, t.positive)]


@pytest.mark.parametrize("augment", [False, True])
def test_whole_and_core_of_a_picture_are_mirrored_together(make, augment):
    for item in boxed_queries(make, augment):
        mirrors = {location: {m for v, m in item.views if v.location == location} for location in ("q.jpg", "p0.jpg")}
        assert all(len(found) <= 1 for found in mirrors.values())
        assert augment or not any(mirror for _, mirror in item.views)


def test_without_augmentation_only_whole_pictures_and_their_cores_are_shown(make):
    items = boxed_queries(make, augment=False)
    cuts = Counter(tuple(view.cut for view, _ in item.views) for item in items if item.views[0][0].location == "q.jpg")
    assert set(cuts) == {("whole",), ("whole", "core")}
    assert cuts["whole",] / cuts.total() == pytest.approx(0.2, abs=0.06)


def test_augmented_queries_show_frames_and_loose_crops_and_crops_alone(make):
    items = [item for item in boxed_queries(make, augment=True) if item.views[0][0].location == "q.jpg"]
    cuts = Counter(tuple(view.cut for view, _ in item.views) for item in items)
    alone = sum(count for kinds, count in cuts.items() if kinds in (("core",), ("loose",)))
    assert alone / cuts.total() == pytest.approx(0.15, abs=0.06)
    assert {("whole", "core"), ("whole", "loose"), ("frame", "core"), ("frame", "loose")} <= set(cuts)
    assert all(kinds[0] in ("whole", "frame") for kinds in cuts if len(kinds) == 2)


def test_a_core_stands_behind_the_picture_that_it_is_cut_from(make):
    for item in boxed_queries(make, augment=True):
        for (before, _), (view, _) in zip(item.views, item.views[1:], strict=False):
            if view.cut in ("core", "loose"):
                assert before.location == view.location
            if view.cut == "core":
                assert view.box == BOX


def test_documents_show_one_picture_or_two(make):
    documents = [item for item in boxed_queries(make, augment=False) if item.views[0][0].location != "q.jpg"]
    wholes = [sum(view.cut == "whole" for view, _ in item.views) for item in documents]
    assert set(wholes) == {1, 2}
    assert np.mean([count == 2 for count in wholes]) == pytest.approx(0.25, abs=0.08)


def white_or_room(location: str) -> Image.Image:
    """Packshots named p... are red on white; other pictures are grey."""
    image = Image.new("RGB", (120, 100), "white" if location.startswith("p") else "grey")
    ImageDraw.Draw(image).rectangle((30, 30, 80, 70), fill="red")
    return image


STAGED = [
    Item("red", "Red chair", (Picture("p0.jpg"), Picture("p1.jpg")), group="g"),
    Item("blue", "Blue chair", (Picture("p2.jpg"),), group="g"),
    Item("lamp", "Lamp", (Picture("shelf.jpg"),)),
]
PHOTO, OTHER_PHOTO = Picture("q.jpg", BOX), Picture("r.jpg", BOX)
ASKED = [
    Record("red", "red chair", PHOTO, modalities=("image",)),
    Record("blue", "in blue", PHOTO, modalities=("both",)),
    Record("blue", "in blue", Picture("unknown.jpg", BOX), modalities=("both",)),
    Record("lamp", "lamp", OTHER_PHOTO, modalities=("image",)),
]


def staged_draws(make, **more) -> list[Triplet]:
    recipe = Recipe(EVEN, augment=True)
    return draws(source_of(make(ASKED, STAGED, **more), recipe, read=white_or_room), 600)


def scenes_in(triplets: Iterable[Triplet]) -> list[View]:
    return [view for t in triplets for view, _ in t.query.views if view.room is not None]


def test_photos_make_way_for_scenes_of_the_product_that_they_show(make):
    triplets = staged_draws(make)
    for row in (0, 1):
        drawn = [t for t in triplets if t.record == row]
        assert np.mean([bool(scenes_in([t])) for t in drawn]) == pytest.approx(SCENE, abs=0.09)
        assert {view.location for view in scenes_in(drawn)} == {"p0.jpg", "p1.jpg"}
    assert not scenes_in(t for t in triplets if t.record == 2), "nobody knows what that picture shows"
    assert not scenes_in(t for t in triplets if t.record == 3), "its packshot is not on white"


def test_scenes_are_few_and_their_rooms_are_photos_of_the_records(make):
    views = set(scenes_in(staged_draws(make)))
    assert {view.room for view in views} <= {PHOTO, OTHER_PHOTO}
    assert {(view.cut, view.variant) for view in views} == {
        (c, n) for c in ("whole", "core", "loose") for n in range(SCENES)
    }
    assert len(views) == 2 * 3 * SCENES


def test_rooms_never_come_from_records_of_other_splits(make):
    records = [*ASKED, *(Record("lamp", "", Picture(f"{split}.jpg", BOX), split=split) for split in ("dev", "test"))]
    source = source_of(make(records, STAGED), Recipe(EVEN, augment=True), read=white_or_room)
    assert {room.location for room in source.scenes.rooms} == {"q.jpg", "r.jpg"}


def test_a_document_shows_another_packshot_than_the_one_in_the_querys_scene(make):
    for triplet in staged_draws(make):
        staged = {view.location for view in scenes_in([triplet])}
        shown = {view.location for document in (triplet.positive, triplet.negative) for view, _ in document.views}
        assert not staged & shown


@pytest.mark.parametrize("recipe", [Recipe(EVEN), Recipe(EVEN, augment=True)])
def test_without_augmentation_or_pictures_to_read_there_are_no_scenes(make, recipe):
    reader = None if recipe.augment else white_or_room
    assert not scenes_in(draws(source_of(make(ASKED, STAGED), recipe, read=reader), 200))


def test_without_field_dropout_every_field_is_always_shown(make):
    nothing = Dropout(0.0, 0.0, 0.0, 0.0, 0.0)
    records = [Record("a", "red chair", weight=1.0), Record("b", "lamp", weight=0.0)]
    drawn = draws(source_of(make(records, [LABELLED, OTHER], name="fields"), Recipe(EVEN, dropout=nothing)), 100)
    shown = "<|title|> Chair<|/title|><|category|> Home > Seats<|/category|><|attribute|> color: red<|/attribute|>"
    assert {triplet.positive.text for triplet in drawn} == {shown}
    cuts = {tuple(view.cut for view, _ in item.views) for item in boxed_queries(make, True, nothing) if not item.text}
    assert {kinds[1:] for kinds in cuts} == {("core",), ("loose",)}


def test_without_core_crops_the_same_pictures_are_shown_whole(make):
    usual, uncropped = boxed_queries(make, True), boxed_queries(make, True, Dropout(crop=1.0, whole=0.0))
    assert {view.cut for item in uncropped for view, _ in item.views} == {"whole", "frame"}
    assert {view.cut for item in usual for view, _ in item.views} == {"whole", "frame", "core", "loose"}


def test_scenes_are_shown_without_crops_too(make):
    recipe = Recipe(EVEN, augment=True, dropout=Dropout(crop=1.0, whole=0.0))
    views = scenes_in(draws(source_of(make(ASKED, STAGED), recipe, read=white_or_room), 300))
    assert {view.cut for view in views} == {"whole"}


def augmented_chairs(share: float) -> Augmented:
    """An enriched title of every chair, and a picture made of its own."""
    rows = [
        row
        for n in range(20)
        for row in (
            {"id": f"chair{n}", "title": f"Enriched {n}"},
            {"id": f"chair{n}", "path": f"new{n}.webp", "picture": f"{n}.jpg"},
        )
    ]
    return Augmented(Path("/augmented"), pa.Table.from_pylist(rows, schema=SCHEMA), share)


def test_products_show_augmented_titles_and_pictures_as_often_as_asked_for_and_queries_none(make):
    corpus = make(photos_with_words(20), chairs(20))
    plain, augmented = (source_of(corpus, augmented=own) for own in (None, augmented_chairs(0.3)))
    before, after = draws(plain, 400), draws(augmented, 400)
    assert [(t.query, t.keys, t.record) for t in after] == [(t.query, t.keys, t.record) for t in before]
    for column in ("positive", "negative"):
        documents = [getattr(triplet, column) for triplet in after]
        assert sum("Enriched" in one.text for one in documents) / 400 == pytest.approx(0.3 * 0.9, abs=0.06)
        shown = sum(view.location.startswith("/augmented/new") for one in documents for view, _ in one.views)
        assert shown / 400 == pytest.approx(0.3, abs=0.06)


def test_with_a_share_of_nothing_every_draw_is_that_of_a_source_without_augmented_data(make):
    corpus = make(photos_with_words(20), chairs(20))
    recipe = Recipe(EVEN, augment=True)
    plain, augmented = (source_of(corpus, recipe, augmented=own) for own in (None, augmented_chairs(0.0)))
    assert draws(augmented, 200) == draws(plain, 200)


def test_products_that_answer_a_label_show_no_enriched_titles(make):
    records = [Record(f"chair{n}", "color: red", segment="attribute") for n in range(20)]
    source = source_of(make(records, chairs(20)), augmented=augmented_chairs(1.0))
    assert not any("Enriched" in one.text for t in draws(source, 60) for one in (t.positive, t.negative))
