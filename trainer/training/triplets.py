"""Triplets of query, positive and hard negative, drawn from a corpus by number (paper, section 6).

Draw number n of a seed is always the same triplet, whoever asks for it: a run that resumes, or another number of
processes or workers, sees the same sequence (our decision).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.errors import BadInputError, CatalogError
from app.moon.prompt import MAX_TITLE_CHARS, attribute_text, category_text, label_text, query_text
from app.moon.segments import mark
from trainer.data.augmented import Augmented
from trainer.data.corpus import Corpus, StoredRecord
from trainer.data.keys import id_key, padded
from trainer.data.negatives import NegativePool
from trainer.data.record import MODALITIES, Item, Modality, Picture
from trainer.data.views import VARIANTS, Read, View
from trainer.training.config import Views
from trainer.training.inputs import Input, QueryView, Triplet
from trainer.training.query_views import QueryViews
from trainer.training.record_pool import RecordPool
from trainer.training.slips import noisy
from trainer.training.staging import FindBox, Scenes

EVEN = (1.0,) * len(MODALITIES)
SECOND_PICTURE = 0.25
TRIES, LAST_TRIES = 4, 16
"""Candidates of the category, and then of any, before the search for a hard negative ends."""
RECORDS = 100
"""Records in a row that may have no hard negative before a run gives up."""
SCENE = 0.3
"""Share of an augmented source's photos that make way for a scene of the product they show, if it has one."""


class MinedNegatives(Protocol):
    """Hard negatives that a model found, see :mod:`trainer.data.mine`."""

    def for_record(self, row: int) -> Sequence[int]: ...


@dataclass(frozen=True)
class Dropout:
    """How often fields are left out, so that no label becomes a shortcut (our decision).

    ``whole`` is how often the core crop stands alone where pictures are augmented.
    """

    category: float = 0.3
    attributes: float = 0.5
    title: float = 0.1
    crop: float = 0.2
    whole: float = 0.15


@dataclass(frozen=True)
class Recipe:
    """How triplets are drawn; ``mixture`` weighs MODALITIES, ``augment`` adds frames, loose crops, scenes, slips.

    ``views`` is how the product of a triplet is asked for: as the mixture says, in all ways (``joint``), or in one of
    them (``budget``), see :mod:`trainer.training.query_views`. ``intra`` adds the product's own words.
    """

    mixture: tuple[float, float, float] = (12.0, 3.0, 2.0)
    sibling_share: float = 0.0
    augment: bool = False
    dropout: Dropout = Dropout()
    views: Views = "mixture"
    intra: bool = False


class TripletSource:
    """Draws triplets of the training records of a corpus; their items alone become random negatives.

    With ``read``, a source whose recipe augments shows scenes; their rooms are pictures of its own records alone. With
    ``augmented``, products show enriched titles and expanded pictures too; queries and products stay those without it.
    """

    def __init__(
        self,
        corpus: Corpus,
        rows: NDArray[np.int64],
        recipe: Recipe,
        seed: int,
        find_box: FindBox,
        mined: MinedNegatives | None = None,
        read: Read | None = None,
        augmented: Augmented | None = None,
    ) -> None:
        self.corpus, self.recipe, self.seed, self.records = corpus, recipe, seed, len(rows)
        self.augmented = augmented
        self._find_box, self._mined = find_box, mined
        columns = corpus.columns
        bits, weights = columns["modalities"][rows], columns["weight"][rows]
        self._pools = {
            name: RecordPool(rows[chosen], weights[chosen], seed)
            for bit, name in enumerate(MODALITIES)
            if (chosen := (bits >> bit & 1).astype(bool)).any()
        }
        own = np.concatenate([columns["positive"][rows], columns["negative"][rows]])
        self.items = np.unique(own[own >= 0])
        self._negatives = NegativePool(corpus, self.items)
        self.scenes = Scenes(corpus, rows, find_box, read) if recipe.augment and read is not None else None
        self._views = None if recipe.views == "mixture" else QueryViews(corpus, rows, self._query)
        if not self.modalities:
            raise BadInputError(
                f"{corpus.name}: no training record has queries of a kind that the mixture {recipe.mixture} of image, "
                "text and image+text weighs; change --mixture."
            )

    @property
    def modalities(self) -> list[Modality]:
        """Query modalities that the records and the mixture allow."""
        return [name for name in self._pools if self.recipe.mixture[MODALITIES.index(name)] > 0]

    @property
    def query_columns(self) -> dict[Modality, str]:
        """In which column of a batch a query of each modality stands; the views of a joint step are told apart."""
        return {name: f"{name}_query" if self.recipe.views == "joint" else "query" for name in MODALITIES}

    @property
    def possible_columns(self) -> set[str]:
        """Those that any triplet can have: the data may have no pictures, or no words."""
        names = set(self._pools) | ({"both"} if {"image", "text"} <= self._pools.keys() else set())
        return {column for name, column in self.query_columns.items() if name in names}

    def of_pictures(self) -> TripletSource:
        """The same source, of which pictures alone are queries."""
        only = copy(self)
        only.recipe = replace(self.recipe, mixture=(1.0, 0.0, 0.0), views="mixture", intra=False)
        only._views = None
        return only

    def draw(self, number: int, attempt: int = 0, chances: Sequence[float] = EVEN) -> Triplet:
        """Triplet ``number`` (from 0); a further ``attempt`` takes its place if a picture of it cannot be read.

        ``chances`` say, up to a factor, how likely a ``budget`` asks in each of MODALITIES.
        Raises CatalogError if no product is a wrong answer, so that none can be the hard negative.
        """
        rng = random.Random(f"{self.seed}:{number}:{attempt}")  # noqa: S311
        weights = [self.recipe.mixture[MODALITIES.index(name)] for name in self.modalities]
        modality = rng.choices(self.modalities, weights)[0]
        row, record, negative_row = self._with_negative(self._pools[modality], number if attempt == 0 else None, rng)
        positive, negative = self.corpus.item(record.positive), self.corpus.item(negative_row)
        labels = record.segment == "title"
        shows_category = labels and rng.random() >= self.recipe.dropout.category
        keys = (
            self.corpus.item_document_keys(record.positive, positive),
            self.corpus.item_document_keys(negative_row, negative),
        )
        queries = [QueryView(modality, self._query(record, modality, rng), self.corpus.query_keys(record), row)]
        if self._views is not None:
            chance = random.Random(f"{self.seed}:{number}:{attempt}:views")  # noqa: S311
            wanted = None if self.recipe.views == "joint" else chances
            queries = self._views.of(queries[0], record, keys[1], chance, wanted)
        staged = {view.location for query in queries for view, _ in query.input.views if view.room is not None}
        shown = [item.without_pictures(staged) for item in (positive, negative)]
        if self.augmented is not None:
            own = random.Random(f"{self.seed}:{number}:{attempt}:augmented")  # noqa: S311
            shown = self.augmented.vary(shown, self._find_box, labels, own)
        documents = [
            self._document(item, (item.category or positive.category) if shows_category else (), labels, rng)
            for item in shown
        ]
        triplet = Triplet(tuple(queries), documents[0], documents[1], keys, negative_row)
        return self._with_words(triplet, record.positive, shown[0]) if self.recipe.intra else triplet

    def _with_words(self, triplet: Triplet, row: int, item: Item) -> Triplet:
        """With the positive's own words, if it shows pictures and has words."""
        title, shown = mark("title", item.title[:MAX_TITLE_CHARS]), triplet.positive.text
        words = shown if shown.startswith(title) else title + shown
        if not words or not triplet.positive.views:
            return triplet
        keys = padded(int(self.corpus.item_keys[name][row]) for name in ("id", "group", "title"))
        return replace(triplet, words=words, product_keys=keys)

    def _with_negative(self, pool: RecordPool, number: int | None, rng: random.Random) -> tuple[int, StoredRecord, int]:
        """The record's row, the record and its hard negative; one that every product answers makes way for another."""
        for _ in range(RECORDS):
            row = pool.any(rng) if number is None else pool.pick(number, rng)
            record = self.corpus.record(row)
            if (negative := self._negative(row, record, rng)) is not None:
                return row, record, negative
            number = None
        raise CatalogError(
            f"{self.corpus.name}: of {RECORDS} records in a row no product is a wrong answer, so there is nothing to "
            "learn; check titles and ids with `trainer validate`."
        )

    def _negative(self, row: int, record: StoredRecord, rng: random.Random) -> int | None:
        """The first candidate that the query cannot mean just as well: the loss masks no query's own hard negative."""
        right = {*self.corpus.query_keys(record), *map(id_key, record.also_right)} - {0}
        keys = self.corpus.item_keys
        for candidate, sibling in self._candidates(row, record, rng):
            own = {int(keys[name][candidate]) for name in (("id", "title") if sibling else ("id", "group", "title"))}
            if not own & right and not (record.meaning and record.meaning in self.corpus.item(candidate).answers):
                return candidate
        return None

    def _candidates(self, row: int, record: StoredRecord, rng: random.Random) -> Iterator[tuple[int, bool]]:
        """A mined one, that of the data, a sibling as often as asked for, products of the category, then any.

        With each, whether it may be a SKU of the positive's model.
        """
        if self._mined is not None and (found := self._mined.for_record(row)):
            yield rng.choice(found), False
        if record.negative is not None:
            yield record.negative, True
        wants_sibling = rng.random() < self.recipe.sibling_share
        if wants_sibling and (sibling := self._negatives.sibling(record.positive, rng)) is not None:
            yield sibling, True
        for _ in range(TRIES):
            if (other := self._negatives.same_category(record.positive, rng)) is not None:
                yield other, False
        for _ in range(LAST_TRIES):
            yield int(self.items[rng.randrange(len(self.items))]), False

    def _query(self, record: StoredRecord, modality: Modality, rng: random.Random) -> Input:
        text = ""
        if modality != "image":
            words = record.text
            if self.recipe.augment and modality == "text" and record.segment == "title":
                words = noisy(words, rng)
            text = query_text(words) if record.segment == "title" else label_text(record.text, record.segment)
        if modality == "text" or record.picture is None:
            return Input(text=text)
        scene = self._scene(record, record.picture, rng)
        views = self._query_views(record.picture, record.text, rng) if scene is None else self._scene_views(scene, rng)
        return Input(views, text)

    def _scene(self, record: StoredRecord, picture: Picture, rng: random.Random) -> View | None:
        """Now and then a scene of what the picture shows, where that is known."""
        if self.scenes is None or rng.random() >= SCENE:
            return None
        item = record.positive if "image" in record.modalities else self.scenes.shown(picture.location)
        return None if item is None else self.scenes.draw(item, rng)

    def _scene_views(self, scene: View, rng: random.Random) -> tuple[tuple[View, bool], ...]:
        mirror, core = rng.random() < 0.5, replace(scene, cut=rng.choice(("core", "loose")))
        return self._beside(scene, core, mirror, rng.random() < self.recipe.dropout.whole, rng)

    def _query_views(self, picture: Picture, title: str, rng: random.Random) -> tuple[tuple[View, bool], ...]:
        box = self._find_box(picture, title)
        mirror = self.recipe.augment and rng.random() < 0.5
        whole = View(picture.location)
        if box is None:
            return ((whole, mirror),)
        core, alone = View(picture.location, box, "core"), False
        if self.recipe.augment:
            loose = [View(picture.location, box, "loose", variant) for variant in range(VARIANTS)]
            frames = [View(picture.location, box, "frame", variant) for variant in range(VARIANTS)]
            core, whole = rng.choice([core, *loose]), rng.choice([whole, whole, *frames])
            alone = rng.random() < self.recipe.dropout.whole
        return self._beside(whole, core, mirror, alone, rng)

    def _beside(
        self, whole: View, core: View, mirror: bool, alone: bool, rng: random.Random
    ) -> tuple[tuple[View, bool], ...]:
        """A query's core crop ``alone``, or the whole picture, mostly with the crop behind it."""
        if alone:
            return ((core, mirror),)
        dropped = rng.random() < self.recipe.dropout.crop
        return ((whole, mirror),) if dropped else ((whole, mirror), (core, mirror))

    def _document(self, item: Item, category: Sequence[str], labels: bool, rng: random.Random) -> Input:
        """An item's pictures and words.

        A negative without a category takes the positive's, and both show theirs or neither does: what one alone shows
        would tell them apart (our decision).
        """
        dropout = self.recipe.dropout
        count = min(len(item.pictures), 1 if rng.random() >= SECOND_PICTURE else 2)
        views: list[tuple[View, bool]] = []
        for picture in rng.sample(item.pictures, count):
            mirror = self.recipe.augment and rng.random() < 0.5
            views.append((View(picture.location), mirror))
            box = self._find_box(picture, item.title)
            if box is not None and rng.random() >= dropout.crop:
                views.append((View(picture.location, box, "core"), mirror))
        text = "" if views and rng.random() < dropout.title else mark("title", item.title[:MAX_TITLE_CHARS])
        text += category_text(category)
        if labels and rng.random() >= dropout.attributes:
            text += attribute_text(item.attributes)
        return Input(tuple(views), text)
