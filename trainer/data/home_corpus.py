"""The home-goods set as items and records: photos, names, titles, phrases of shoppers, labels, and wishes for a colour.

Records of ``train`` and ``dev`` are made of the catalog; those of ``test`` are its photos, ``queries.parquet`` and
``mixed_queries.parquet``. Within each query modality of a split every product weighs the same (our decision).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from app.schema import Box, category_levels
from trainer.data.corpus import CorpusWriter
from trainer.data.home import HomeProduct, HomeSet, Photo
from trainer.data.record import Item, Picture, Record, Segment, Split

RECOLOURED_SHARE = 0.6
"""Of the queries of picture and text, where the design comes in other colours."""
WISHES = ("in {}", "the same in {}", "same {kind} but in {}", "{} version")
NAME, TITLE, ANY_NAME, PHRASE, CATEGORY, ATTRIBUTE = 0.30, 0.15, 0.20, 0.15, 0.13, 0.07
"""Shares of what a text query is made of: English name, title, a name in any language, words for a kind, labels."""
COLOURED_PHRASE = 0.3


def write_home(root: Path, writer: CorpusWriter) -> None:
    """Add the set in the folder ``root``, laid out as ``demo/``, to a corpus."""
    home = HomeSet(root)
    writer.add_catalog(_item(product, root) for product in home.products)
    for split in ("train", "dev"):
        for record in split_records(home, split):
            writer.add(record)
    for record in _test_records(home):
        writer.add(record)


def split_records(home: HomeSet, split: Split) -> Iterator[Record]:
    """Records of ``train`` or ``dev``, made of the catalog and its photos."""
    return _SplitRecords(home, split).records()


def answers_of(product: HomeProduct) -> tuple[str, ...]:
    """Everything that a query may mean for which the product is a right answer; what most products share comes last."""
    colour = colour_of(product)
    kinds = [meaning for kind in product.kinds for meaning in (f"kind:{kind}", f"kind:{kind}|{colour}")]
    values = [f"value:{key}: {value}" for key, values in product.product.attributes.items() for value in values]
    return (*kinds, *(f"category:{path}" for path in reversed(category_levels(product.product.category))), *values)


def colour_of(product: HomeProduct) -> str:
    return next(iter(product.product.attributes.get("color", [])), "")


@dataclass(frozen=True)
class _Text:
    """What a shopper may type for a product, or a label of it, with its share among the product's texts."""

    text: str
    meaning: str
    share: float
    segment: Segment = "title"


class _SplitRecords:
    """Makes the records of one split; hard negatives take turns, so that each gets its share."""

    def __init__(self, home: HomeSet, split: Split) -> None:
        self._home, self._split = home, split
        self._products = {p.product.id: p for p in home.products if p.split == split}
        self._answers = {key: set(answers_of(product)) for key, product in self._products.items()}
        self._groups: dict[str, list[HomeProduct]] = defaultdict(list)
        for product in self._products.values():
            self._groups[product.product.group_id or product.product.id].append(product)
        self._turn = count()

    def records(self) -> Iterator[Record]:
        photos: dict[str, list[Photo]] = defaultdict(list)
        for photo in self._home.photos:
            if photo.split == self._split and not photo.shows_test_model:
                photos[photo.product_id].append(photo)
        for key, own in photos.items():
            for photo in own:
                yield from self._of_photo(photo, self._products[key], 1 / len(own))
        for product in self._products.values():
            yield from self._of_words(product)

    def _of_photo(self, photo: Photo, source: HomeProduct, weight: float) -> Iterator[Record]:
        """Photo alone or with the title, photo with the name, photo with the wish for another colour."""
        picture, product = _picture(photo.path, self._home.root, photo.box), source.product
        negative = self._negative(source, "")
        yield self._record(product.id, product.title, negative, weight, picture=picture, modalities=("image", "both"))
        others = [
            p for p in self._groups[product.group_id or product.id] if colour_of(p) not in ("", colour_of(source))
        ]
        title_share = (1 - RECOLOURED_SHARE) / 2
        wishes = weight / title_share * RECOLOURED_SHARE if others else 0.0
        named = weight / title_share - weight - wishes
        name = dict(source.names)["en"]
        yield self._record(product.id, name, negative, named, picture=picture, modalities=("both",))
        for other in others:
            for wish in WISHES:
                text = wish.format(colour_of(other), kind=source.kinds[0])
                share = wishes / len(others) / len(WISHES)
                yield self._record(other.product.id, text, product.id, share, picture=picture, modalities=("both",))

    def _of_words(self, product: HomeProduct) -> Iterator[Record]:
        weights: dict[tuple[str, str, Segment], float] = defaultdict(float)
        for words in self._texts(product):
            weights[words.text, words.meaning, words.segment] += words.share
        for (text, meaning, segment), weight in weights.items():
            negative = self._negative(product, meaning)
            yield self._record(product.product.id, text, negative, weight, meaning=meaning, segment=segment)

    def _texts(self, product: HomeProduct) -> Iterator[_Text]:
        colour, kind = colour_of(product), f"kind:{product.kinds[0]}"
        yield _Text(dict(product.names)["en"], kind, NAME)
        yield _Text(product.product.title, f"{kind}|{colour}", TITLE)
        for _, name in product.names:
            yield _Text(name, kind, ANY_NAME / len(product.names))
        for own in product.kinds:
            phrases = [own, *self._home.kind_phrases.get(own, [])]
            share = PHRASE / len(product.kinds) / len(phrases)
            for phrase in phrases:
                yield _Text(phrase, f"kind:{own}", share * (1 - COLOURED_PHRASE if colour else 1))
                if colour:
                    yield _Text(f"{colour} {phrase}", f"kind:{own}|{colour}", share * COLOURED_PHRASE)
        paths = category_levels(product.product.category)
        for path in paths:
            yield _Text(path, f"category:{path}", CATEGORY / len(paths), "category")
        attributes = {key: values for key, values in product.product.attributes.items() if values}
        for key, values in attributes.items():
            for value in values:
                label = f"{key}: {value}"
                yield _Text(label, f"value:{label}", ATTRIBUTE / len(attributes) / len(values), "attribute")

    def _negative(self, product: HomeProduct, meaning: str) -> str | None:
        """A hard negative of the same split that the query does not mean just as well; None if there is none."""
        found = [key for key in product.hard_negatives if meaning not in self._answers.get(key, {meaning})]
        return found[next(self._turn) % len(found)] if found else None

    def _record(self, positive: str, text: str, negative: str | None, weight: float, **more) -> Record:
        return Record(positive, text, negative=negative, weight=weight, split=self._split, **more)


def _test_records(home: HomeSet) -> Iterator[Record]:
    for photo in home.photos:
        if photo.split == "test":
            yield Record(photo.product_id, picture=_picture(photo.path, home.root, photo.box), split="test")
    held_out = {p.product.id for p in home.products if p.split == "test"}
    for row in home.queries.iter_rows(named=True):
        positive, others = _right(row, held_out)
        yield Record(positive, row["text"], also_right=others, split="test")
    for row in pl.read_parquet(home.root / "mixed_queries.parquet").iter_rows(named=True):
        positive, others = _right(row, held_out)
        picture, negative = _picture(row["photo"], home.root, row["box"]), next(iter(row["wrong_if_top"]), None)
        yield Record(positive, row["text"], picture, negative, also_right=others, modalities=("both",), split="test")


def _right(row: Mapping[str, Any], held_out: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """A product of the test split that answers the query, and all others of the catalog."""
    right = row["relevant_product_ids"]
    positive = next(key for key in right if key in held_out)
    return positive, tuple(key for key in right if key != positive)


def _item(product: HomeProduct, root: Path) -> Item:
    own = product.product
    return Item(
        own.id,
        own.title,
        tuple(_picture(path, root) for path in own.images),
        tuple(own.category),
        {key: tuple(values) for key, values in own.attributes.items() if values},
        own.group_id or "",
        answers_of(product),
    )


def _picture(path: str, root: Path, box: Box | Sequence[int] | None = None) -> Picture:
    return Picture(str((root / path).absolute()), tuple(map(float, box)) if box else None)  # type: ignore[arg-type]
