from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from app.errors import BadInputError
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.record import Item, Picture, Record
from trainer.data.splits import training_rows
from trainer.training import validation as validation_module
from trainer.training.validation import DevRecall

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class ByContent:
    """Vectors by the first mark of an input: a picture's name, else the title's first word."""

    def __init__(self, vectors: dict[str, list[float]], gone: tuple[str, ...] = ()) -> None:
        self.vectors, self.gone = vectors, gone

    def fetch(self, views):
        if any(view.location in self.gone for view, _ in views):
            raise BadInputError("broken")
        return [view.location for view, _ in views]

    def features(self, texts, pictures):
        rows = [
            self.vectors[own[0] if own else text.split()[1].split("<")[0]]
            for text, own in zip(texts, pictures, strict=True)
        ]
        return {"vectors": torch.tensor(rows), "texts": texts, "pictures": pictures}


class Model:
    """Hands the vectors on, and notes what it was given."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.training, self.texts, self.pictures = True, [], []

    def eval(self):
        self.training = False

    def train(self, mode):
        self.training = mode

    def __call__(self, features):
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.texts += features["texts"]
        self.pictures += features["pictures"]
        return {"sentence_embedding": torch.nn.functional.normalize(features["vectors"], dim=1)}


def one_hot(place: int, *more: tuple[int, float]) -> list[float]:
    vector = [0.0] * 30
    vector[place] = 1.0
    for other, value in more:
        vector[other] = value
    return vector


@pytest.fixture
def make(tmp_path) -> Callable[..., Corpus]:
    def write(records: Iterable[Record], catalog: Iterable[Item]) -> Corpus:
        with CorpusWriter(tmp_path / "corpus", {"name": "test", "format": "shop"}) as writer:
            writer.add_catalog(catalog)
            for record in records:
                writer.add(record)
        return Corpus(tmp_path / "corpus")

    return write


def recall_of(corpus: Corpus, encoding: ByContent, seed: int = 0) -> DevRecall:
    split = SimpleNamespace(train=corpus.rows_of("train"), dev=corpus.rows_of("dev"))
    items = np.unique(corpus.columns["positive"][split.train])
    return DevRecall(corpus, split.dev, items, encoding, lambda picture, title: picture.box, seed, batch_size=3)


ITEMS = [Item(letter, letter) for letter in LETTERS]
AXES = {letter: one_hot(place) for place, letter in enumerate(LETTERS)}


def test_recall_of_a_case_worked_by_hand(make):
    """Queries q1..q4 for a..d: found first, second, twelfth, and only through another SKU of its model."""
    items = [*ITEMS[:3], Item("d", "d", group="model"), Item("e", "e", group="model"), *ITEMS[5:]]
    records = [Record(letter, f"q{n}", split="dev") for n, letter in enumerate("abcd", start=1)]
    records += [Record(item.id, item.title) for item in items]
    queries = {
        "q1": one_hot(0),
        "q2": one_hot(1, (25, 1.1)),
        "q3": one_hot(2, *((place, 2.0) for place in range(10, 21))),
        "q4": one_hot(4, (3, -1.0)),
    }
    recall = recall_of(make(records, items), ByContent({**AXES, **queries}))
    assert len(recall) == 4
    assert recall(Model()) == {"text_r1": 0.5, "text_r10": 0.75}
    assert recall.metric == "text_r1"


@pytest.mark.parametrize(
    ("query", "other"),
    [
        ({}, {"title": "A!"}),
        ({"also_right": ("z",)}, {}),
        ({"meaning": "kind:chair"}, {"answers": ("kind:chair",)}),
    ],
    ids=["namesake", "bought too", "meant as well"],
)
def test_what_is_as_right_as_the_positive_counts(make, query, other):
    items = [Item("a", "a", answers=("kind:chair",)), Item("z", **{"title": "z", **other})]
    records = [Record("a", "query", split="dev", **query), Record("z", "z")]
    recall = recall_of(make(records, items), ByContent({**AXES, "A!": AXES["z"], "query": AXES["z"]}))
    assert recall(Model())["text_r1"] == 1.0


def test_vectors_that_are_no_numbers_end_the_run(make):
    items = [Item("a", "a"), Item("b", "b")]
    recall = recall_of(
        make([Record("a", "q", split="dev"), Record("b", "b")], items), ByContent({**AXES, "q": [float("nan")] * 30})
    )
    with pytest.raises(FloatingPointError, match="no numbers after step 7; lower the learning rate"):
        recall(Model(), steps=7)


def test_a_miss_in_a_gallery_smaller_than_the_cutoff_is_no_hit(make):
    """Nothing of two documents is right: with ten places to look at, neither counts."""
    items = [Item("a", "a"), Item("b", "b")]
    recall = recall_of(
        make([Record("a", "q", split="dev"), Record("b", "b")], items), ByContent({**AXES, "q": one_hot(1)})
    )
    recall._keys = [set(), set()]
    assert recall(Model()) == {"text_r1": 0.0, "text_r10": 0.0}


def test_each_modality_has_its_own_recall_and_pictures_decide(make):
    items = [Item("a", "a", (Picture("a.jpg"),)), Item("b", "b", (Picture("b.jpg"),))]
    records = [Record("a", "b", Picture("query.jpg"), split="dev"), Record("b", "b")]
    vectors = {**AXES, "a.jpg": AXES["a"], "b.jpg": AXES["b"], "query.jpg": AXES["a"]}
    recall = recall_of(make(records, items), ByContent(vectors))
    found = recall(Model())
    assert {name: found[name] for name in ("image_r1", "text_r1", "both_r1")} == {
        "image_r1": 1,
        "text_r1": 0,
        "both_r1": 1,
    }
    assert recall.metric == "image_r1"


def test_queries_show_picture_and_core_and_documents_every_field(make):
    box = (10.0, 10.0, 50.0, 50.0)
    pictures = (Picture("p0.jpg", box), Picture("p1.jpg"), Picture("p2.jpg"))
    items = [Item("a", "a" * 1000, pictures, ("Home", "Seats"), {"color": ("red",)}), ITEMS[1]]
    records = [Record("a", "words", Picture("q.jpg", box), split="dev"), Record("b", "b")]
    vectors = {**AXES, **dict.fromkeys(("p0.jpg", "q.jpg", "words"), AXES["a"])}
    model = Model()
    recall_of(make(records, items), ByContent(vectors))(model)
    shown = dict(zip(model.texts, model.pictures, strict=True))
    title, labels = "a" * 400, "<|category|> Home > Seats<|/category|><|attribute|> color: red<|/attribute|>"
    assert shown[f"<|title|> {title}<|/title|>{labels}"] == ["p0.jpg", "p0.jpg", "p1.jpg"]
    assert shown[""] == ["q.jpg", "q.jpg"]
    assert sorted(map(len, model.pictures)) == [0, 0, 2, 2, 3]


def test_label_texts_are_no_queries_and_take_no_place_of_one(make, monkeypatch):
    monkeypatch.setattr(validation_module, "QUERIES", 5)
    labels = [Record("a", f"label{n}", split="dev", segment="category") for n in range(30)]
    titles = [Record(letter, letter, split="dev") for letter in LETTERS[:6]]
    model = Model()
    recall = recall_of(make([*labels, *titles, Record("z", "z")], ITEMS), ByContent(AXES))
    recall(model)
    assert len(recall) == 5
    assert not any("label" in text for text in model.texts)


def test_a_query_whose_picture_or_answer_cannot_be_read_is_left_out(make):
    items = [Item(letter, letter, (Picture(f"{letter}.jpg"),)) for letter in "abc"]
    records = [Record(letter, picture=Picture(f"q{letter}.jpg"), split="dev") for letter in "abc"]
    vectors = {f"{start}{letter}.jpg": AXES[letter] for letter in "abc" for start in ("", "q")}
    corpus = make([*records, Record("c", "c")], items)
    recall = recall_of(corpus, ByContent(vectors, gone=("a.jpg", "qb.jpg")))
    assert (len(recall), recall.products, recall.unreadable) == (1, 1, 2)
    assert recall(Model()) == {"image_r1": 1.0, "image_r10": 1.0}
    assert len(recall_of(corpus, ByContent(vectors, gone=("qa.jpg", "qb.jpg", "qc.jpg")))) == 0


def test_the_gallery_holds_the_answers_and_a_sample_of_training_items(make, monkeypatch):
    monkeypatch.setattr(validation_module, "DISTRACTORS", 4)
    records = [Record("a", "a", split="dev"), Record("b", "b", split="test"), *(Record(x, x) for x in LETTERS[2:])]
    corpus, encoding = make(records, ITEMS), ByContent(AXES)

    def gallery(seed: int) -> set[str]:
        model = Model()
        recall_of(corpus, encoding, seed)(model)
        return {text.split()[1][0] for text in model.texts}

    found = gallery(1)
    assert len(found) == 5
    assert "a" in found
    assert "b" not in found
    assert gallery(1) == found != gallery(2)


def test_the_model_is_left_in_the_mode_that_it_was_in(make):
    corpus = make([Record("a", "a", split="dev"), Record("b", "b")], ITEMS)
    model = Model()
    recall_of(corpus, ByContent(AXES))(model)
    assert model.training


def test_the_test_split_of_the_home_set_takes_no_part(corpus):
    split = training_rows(corpus)
    vectors = SimpleNamespace(fetch=lambda views: [view.location for view, _ in views])
    items = np.unique(corpus.columns["positive"][split.train])
    recall = DevRecall(corpus, split.dev, items, vectors, lambda picture, title: picture.box, 0, 8)
    held_out = {p.location for row in corpus.rows_of("test") for p in corpus.item(corpus.record(row).positive).pictures}
    shown = {view.location for item in recall._gallery for view, _ in item.views}
    assert shown
    assert not shown & held_out
