"""What training and evaluation know of a data set: products as items, and records of who searched what and bought it.

One form for every source (our decision): MBE, M5Product, a shop's catalog with its log, the home-goods set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from app.schema import Box

Modality = Literal["image", "text", "both"]
MODALITIES: tuple[Modality, ...] = ("image", "text", "both")
Segment = Literal["title", "category", "attribute"]
Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a picture lies (see :mod:`trainer.data.pictures`) and, if the data say so, its core product's box."""

    location: str
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A product. SKUs of one model share ``group``; ``answers`` name queries that it answers as well as any other."""

    id: str
    title: str = ""
    pictures: tuple[Picture, ...] = ()
    category: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    group: str = ""
    answers: tuple[str, ...] = ()

    def without_pictures(self, locations: Collection[str]) -> Item:
        """The item without some of its pictures; all stay if none would be left (our decision)."""
        pictures = tuple(picture for picture in self.pictures if picture.location not in locations)
        return replace(self, pictures=pictures or self.pictures)


@dataclass(frozen=True, slots=True)
class Record:
    """A query (``text``, ``picture`` or both) and the product bought. Products are items, or ids of earlier ones.

    ``also_right`` are ids of other products bought for the same query, ``meaning`` what an item must have among its
    ``answers`` to be as right. ``negative`` is the hard negative of the data; without one, training picks another
    product of the category (paper). ``segment`` is where the text stands in the prompt: label texts train prediction.
    ``modalities`` limits the query modalities that make sense (empty: all that it has); ``weight`` is how often the
    record is drawn relative to others.
    """

    positive: Item | str
    text: str = ""
    picture: Picture | None = None
    negative: Item | str | None = None
    also_right: tuple[str, ...] = ()
    meaning: str = ""
    segment: Segment = "title"
    modalities: tuple[Modality, ...] = ()
    weight: float = 1.0
    split: Split = "train"
