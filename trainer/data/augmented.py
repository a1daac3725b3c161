"""Enriched titles and expanded pictures of training products, as `trainer augment` wrote them."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.errors import CatalogError
from app.schema import Box
from trainer.data.corpus import Corpus
from trainer.data.keys import id_key
from trainer.data.leakage import check_augmented
from trainer.data.record import Item, Picture

logger = logging.getLogger(__name__)

FILE = "augmented.parquet"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("title", pa.string()),
        ("path", pa.string()),
        ("picture", pa.string()),
        ("box", pa.list_(pa.float32())),
        ("score", pa.float32()),
        ("category_score", pa.float32()),
        ("source", pa.string()),
    ]
)
"""A ``title``, or the ``path`` of a picture below the folder and the ``picture`` it is made of; ``source``: a hash."""
NOTE = b"augmented"


def augmented_fingerprint(folder: Path) -> str:
    """A hash that changes whenever what `trainer augment` wrote does. Raises CatalogError if it cannot be read."""
    try:
        with (folder / FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CatalogError(f"{folder}: no augmented data ({error}); make them with `trainer augment`") from error


class Augmented:
    """What may take the place of products' titles and pictures, with a ``share`` of the draws.

    Takes the strings' memory, some hundred bytes for each title or picture.
    """

    def __init__(self, folder: Path, table: pa.Table, share: float) -> None:
        self.share = share
        self._folder = folder
        keys = np.array([id_key(name) for name in table["id"].to_pylist()], dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        self._keys: NDArray[np.int64] = keys[order]
        self._table = table.select(["title", "path", "picture", "box"]).take(order).combine_chunks()

    @classmethod
    def open(cls, folder: Path, corpus: Corpus, train: NDArray[np.int64], share: float) -> Self:
        """For training on the records ``train`` of the corpus.

        Raises CatalogError if `trainer augment` did not finish the folder, or made it of another data set; ModelError
        if it holds a product that other records ask for.
        """
        try:
            table = pq.read_table(folder / FILE)
            note = json.loads(table.schema.metadata[NOTE])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise CatalogError(f"{folder}: no augmented data ({error}); make them with `trainer augment`") from error
        if note["corpus"] != corpus.info["fingerprint"]:
            raise CatalogError(f"{folder}: made of another data set than {corpus.name}; augment this one")
        check_augmented(corpus, train, table["id"].to_pylist(), folder)
        if not _fits(table, corpus):
            logger.warning(
                "%s: no picture is made of one of %s, so none of them is shown; if the pictures have moved, make it "
                "again with `trainer augment`, which keeps what it made",
                *(folder, corpus.name),
            )
        return cls(folder.absolute(), table, share)

    @property
    def pictures(self) -> int:
        return sum(1 for path in self._table["path"] if path.is_valid)

    @property
    def titles(self) -> int:
        return len(self._table) - self.pictures

    def vary(
        self, items: Sequence[Item], find_box: Callable[[Picture, str], Box | None], titles: bool, rng: random.Random
    ) -> list[Item]:
        """The items of a triplet, all with augmented titles (if ``titles``) or none, and the same of pictures.

        What has no such title or picture stays. Boxes of pictures that stay are looked up by the title that was.
        """
        new_titles = rng.random() < self.share and titles
        new_pictures = rng.random() < self.share
        return [self._varied(item, find_box, new_titles, new_pictures, rng) for item in items]

    def _varied(
        self,
        item: Item,
        find_box: Callable[[Picture, str], Box | None],
        new_title: bool,
        new_pictures: bool,
        rng: random.Random,
    ) -> Item:
        start, end = np.searchsorted(self._keys, [id_key(item.id), id_key(item.id) + 1])
        rows = self._table.slice(start, end - start).to_pylist()
        pictures = [Picture(own.location, find_box(own, item.title)) for own in item.pictures]
        if new_pictures:
            pictures = [rng.choice(self._made_of(own, rows) or [own]) for own in pictures]
        titles = [row["title"] for row in rows if row["title"]] if new_title else []
        return replace(item, title=rng.choice(titles or [item.title]), pictures=tuple(pictures))

    def _made_of(self, picture: Picture, rows: Sequence[dict]) -> list[Picture]:
        return [
            Picture(str(self._folder / row["path"]), tuple(row["box"]) if row["box"] else None)
            for row in rows
            if row["path"] and row["picture"] == picture.location
        ]


def _fits(table: pa.Table, corpus: Corpus) -> bool:
    """Whether a picture is made of one that the data have, where they have it; without pictures nothing is wrong."""
    made = table.filter(pc.is_valid(table["path"])).select(["id", "picture"]).to_pylist()
    made_of = {(row["id"], row["picture"]) for row in made}
    keys = [id_key(name) for name, _ in made_of]
    items = (corpus.item(row) for row in np.flatnonzero(np.isin(corpus.item_keys["id"], keys)).tolist())
    return not made_of or any((item.id, own.location) in made_of for item in items for own in item.pictures)
