from __future__ import annotations

import pytest
from PIL import Image
from shop_samples import COLOURS, publish

from app.complete import Completed, Completer, composed_title, label_proposals
from app.errors import BadInputError, IndexUnavailableError
from app.predict import Predictor, Voted
from app.schema import Candidate, Hit, Prediction, Product, Sure

RED = Image.new("RGB", (32, 32), COLOURS["red"])


def hit(number: int, title: str, category: str = "Furniture > Chairs", **attributes: str) -> Hit:
    own = {key: [value] for key, value in attributes.items()}
    return Hit(product=Product(id=str(number), title=title, category=category.split(" > "), attributes=own), score=0.9)


CHAIRS = [hit(n, f"{colour} dining chair", color=colour) for n, colour in enumerate(("red", "blue", "red", "teal"))]


def voted(nearest: list[Hit], sure: Sure | None = None, **attributes: float) -> Voted:
    categories = [
        [Candidate(label="Furniture", probability=0.9)],
        [Candidate(label="Furniture > Chairs", probability=0.6)],
    ]
    found = {key: [Candidate(label="red", probability=value)] for key, value in attributes.items()}
    return Voted(Prediction(categories=categories, attributes=found, sure=sure), nearest)


def test_the_category_goes_down_to_the_last_level_that_is_probable_enough():
    bare = Product(id="1")
    fields = [label_proposals(bare, voted(CHAIRS), least)[0] for least in (0.5, 0.8, 0.95)]
    assert [one.value for one in fields] == ["Furniture > Chairs", "Furniture", "Furniture > Chairs"]
    assert [one.confidence for one in fields] == [0.6, 0.9, 0.6]


def test_proposals_name_the_neighbours_that_say_so_and_whether_they_are_sure():
    sure = Sure(categories=[True, False], attributes={"color": True})
    category, colour = label_proposals(Product(id="1"), voted(CHAIRS, sure, color=0.7), 0.5)
    assert (category.neighbours, category.sure) == (("0", "1", "2", "3"), False)
    assert (colour.field, colour.value, colour.neighbours, colour.sure) == ("attributes.color", "red", ("0", "2"), True)


def test_without_a_calibration_nothing_is_said_of_sureness():
    assert [one.sure for one in label_proposals(Product(id="1"), voted(CHAIRS, color=0.7), 0.5)] == [None, None]


def test_an_attribute_that_few_neighbours_have_is_not_missing():
    nearest = [*CHAIRS[:1], *(hit(n, "chair") for n in range(5, 9))]
    assert [one.field for one in label_proposals(Product(id="1"), voted(nearest, color=0.7), 0.5)] == ["category"]


def test_a_title_is_made_of_labels_and_the_words_that_neighbours_share():
    product = Product(id="1", category=["Furniture", "Chairs"], attributes={"color": ["green"]})
    title = composed_title(product, [], CHAIRS)
    assert (title.value, title.source, title.confidence) == ("Green dining chair Chairs", "composed", 1.0)
    assert title.value not in {one.product.title for one in CHAIRS}


def test_a_title_does_not_say_the_category_twice_nor_values_that_titles_do_not_hold():
    nearest = [hit(n, f"Sofa {n}", "Sofa", brand="Acme") for n in range(3)]
    product = Product(id="1", category=["Sofa"], attributes={"brand": ["Acme"]})
    assert composed_title(product, [], nearest).value == "Sofa"


def test_a_title_is_as_probable_as_its_least_probable_part():
    first, *_ = proposals = label_proposals(Product(id="1"), voted(CHAIRS, color=0.7), 0.5)
    product = Product(id="1", category=["Furniture", "Chairs"], attributes={"color": ["red"]})
    assert composed_title(product, proposals, CHAIRS).confidence == first.confidence == 0.6
    assert composed_title(product, proposals, [*CHAIRS, hit(9, "red dining table")]).confidence == 0.6


def test_one_neighbour_lends_no_words_and_nothing_makes_no_title():
    assert composed_title(Product(id="1"), [], [hit(1, "dining chair")]) is None
    assert composed_title(Product(id="1"), [], [hit(1, "chair"), hit(2, "table"), hit(3, "")]) is None


def test_what_a_product_has_stays_and_what_it_lacks_is_filled(published):
    whole = Product(id="x", title="blue sofa", category=["Odd"], attributes={"color": ["pink"]})
    partial = Product(id="y", title="blue sofa", attributes={"color": []})
    done = Completer(published.predictor, least=0.0).complete_many([whole, partial], [[], []])
    assert (done[0].product, done[0].proposals) == (whole, [])
    assert done[1].product.title == "blue sofa"
    assert done[1].product.category == ["Furniture", "Sofas"]
    assert done[1].product.attributes == {"color": ["blue"]}
    assert done[1].filled == {"category", "attributes.color"}


def test_what_is_not_probable_enough_is_proposed_and_not_filled_in(published):
    bare = Product(id="y", title="blue sofa")
    (done,) = Completer(published.predictor, least=1.0).complete_many([bare], [[]])
    assert (done.product, done.filled) == (bare, frozenset())
    assert {one.field for one in done.proposals} == {"category", "attributes.color"}


def test_a_picture_alone_becomes_a_titled_product(published):
    (done,) = Completer(published.predictor, least=0.0).complete_many([Product(id="z", images=["a.png"])], [[RED]])
    title = next(one for one in done.proposals if one.field == "title")
    assert "Red" in title.value.split()
    assert done.product.title == title.value


def test_a_product_with_nothing_to_look_at_costs_itself(published):
    lost, done = Completer(published.predictor).complete_many(
        [Product(id="0"), Product(id="1", title="sofa")], [[], []]
    )
    assert isinstance(lost, BadInputError)
    assert isinstance(done, Completed)


class Writer:
    """Writes a title, and the last choice of everything else."""

    def __init__(self) -> None:
        self.asked: list[dict] = []

    def generate(self, product, image, missing):
        self.asked.append(dict(missing))
        return {field: choices[-1] if choices else "A fine sofa" for field, choices in missing.items()}


def test_a_generator_writes_titles_and_what_neighbours_leave_open(published):
    writer = Writer()
    completer = Completer(published.predictor, least=1.0, generator=writer)
    (done,) = completer.complete_many([Product(id="z", images=["a.png"])], [[RED]])
    assert done.product.title == "A fine sofa"
    assert {one.source for one in done.proposals} == {"generated"}
    assert done.filled == {"title", "category", "attributes.color"}
    assert set(writer.asked[0]["attributes.color"]) == set(COLOURS)


def test_a_generator_is_not_asked_where_neighbours_decide(published):
    writer = Writer()
    completer = Completer(published.predictor, least=0.0, generator=writer)
    completer.complete_many([Product(id="z", title="red sofa")], [[]])
    assert writer.asked == []


def test_without_an_index_nothing_can_be_completed(new_service):
    with pytest.raises(IndexUnavailableError):
        Completer(new_service.predictor).complete_many([Product(id="1", title="chair")], [[]])


def test_neighbours_are_those_of_the_index_alone(settings, new_service, embedder):
    publish(new_service.store, embedder, [Product(id="only", title="chair", category=["Chairs"])])
    voted_by = Predictor(embedder, new_service.live, settings)
    (done,) = Completer(voted_by, 0.0).complete_many([Product(id="1", title="stool")], [[]])
    assert done.proposals[0].neighbours == ("only",)
