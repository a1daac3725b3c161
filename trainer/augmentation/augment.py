"""Co-augmentation from a data set to a folder that training draws from (MOON2.0)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.encoder import Embedder
from app.errors import CatalogError
from app.schema import Box
from trainer.augmentation.candidates import EditPicture, Workbench
from trainer.augmentation.config import AugmentConfig
from trainer.augmentation.kept import KeptProducts, Room
from trainer.augmentation.rooms import Rooms
from trainer.augmentation.rules import fields_refusal, refusal
from trainer.augmentation.selection import Demands, Outcome, Search, select
from trainer.augmentation.sheet import write_sheet
from trainer.augmentation.titles import ModelTitles, TitleMaker, from_fields
from trainer.augmentation.vocabulary import read_vocabulary
from trainer.data.ahead import run_ahead
from trainer.data.corpus import Corpus
from trainer.data.leakage import held_out_items
from trainer.data.mine_vectors import Track
from trainer.data.pictures import PictureStore
from trainer.data.record import Item, Picture
from trainer.data.splits import training_rows

logger = logging.getLogger(__name__)

BATCH = 16
"""Products that are made and kept together: what a killed run loses."""


@dataclass
class Augmentation:
    """What came of a run: ``products`` of which ``made`` are new, ``held_out`` that other records ask for, verdicts."""

    products: int
    made: int
    held_out: int
    outcome: Outcome


def augment(
    corpus: Corpus,
    embedder: Embedder,
    store: PictureStore,
    find_box: Callable[[Picture, str], Box | None],
    out: Path,
    config: AugmentConfig,
    *,
    write_title: ModelTitles | None,
    edit: EditPicture | None,
    search: Search,
    track: Track,
) -> Augmentation:
    """Make, score and judge titles and pictures of the products of the corpus's training records.

    Products that a development or test record names are left out, and so is every SKU of their models. A run that was
    killed goes on where it was, and a product whose content, settings and models are known is not made again.

    Raises CatalogError if no product is left, or another run is at the folder.
    """
    train = training_rows(corpus).train
    known, held_out = _products(corpus, train)
    rows = known
    if config.limit is not None and config.limit < len(known):
        rows = np.sort(np.random.default_rng(config.seed).choice(known, config.limit, replace=False))
    rooms = Rooms(corpus, train, find_box, store) if "scene" in config.pictures else None
    titles: dict[str, TitleMaker | None] = {"fields": from_fields, "model": write_title, "none": None}
    bench = Workbench(config, embedder, store, find_box, rooms, titles[config.titles], edit, out)
    demands = Demands(config, _rules(corpus, known, config), rooms.hold if rooms else _no_room)
    with KeptProducts(out) as kept:
        sources, made = _make(corpus, rows, bench, kept, track)
        note = {"corpus": corpus.info["fingerprint"], "model": embedder.fingerprint, **asdict(config)}
        outcome = select(
            *(corpus, rows, sources, kept, out, demands),
            search=search,
            dimensions=embedder.dimensions,
            note=note,
        )
        write_sheet(out, corpus, outcome.examples, store.read)
    return Augmentation(len(rows), made, held_out, outcome)


def _rules(corpus: Corpus, rows: NDArray[np.int64], config: AugmentConfig) -> Callable[[str, Item], str]:
    """Why a title may not stand for a product; the products ``rows`` lend their words to titles of a model."""
    if config.titles != "model":
        return fields_refusal
    return partial(refusal, vocabulary=read_vocabulary(map(corpus.item, rows), len(rows)))


def _no_room(room: Room) -> bool:
    """For runs that make no scenes."""
    return False


def _products(corpus: Corpus, train: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Rows of the products that may be augmented, each id once, ascending; and how many are held out."""
    columns = corpus.columns
    named = np.concatenate([columns["positive"][train], columns["negative"][train]])
    named = np.unique(named[named >= 0])
    _, first = np.unique(corpus.item_keys["id"][named], return_index=True)
    named = np.sort(named[first])
    rows = named[~held_out_items(corpus, train)[named]]
    if not len(rows):
        raise CatalogError(
            f"{corpus.name}: every product of the training records is asked for by development or test records too, "
            "and these are never augmented; give the data splits by product."
        )
    return rows, len(named) - len(rows)


def _make(
    corpus: Corpus, rows: NDArray[np.int64], bench: Workbench, kept: KeptProducts, track: Track
) -> tuple[list[str], int]:
    """The sources of all products, and how many were not kept yet; after it, all are."""

    def read(row: int) -> tuple[str, Item]:
        item = corpus.item(row)
        return bench.source(item), item

    sources, made = list[str](), 0
    ahead = run_ahead(read, map(int, rows), 4 * BATCH)
    for start in track(range(0, len(rows), BATCH), "products"):
        batch = [next(ahead) for _ in rows[start : start + BATCH]]
        items = dict(batch)
        new = kept.unknown([source for source, _ in batch])
        kept.add(bench.make([(source, items[source]) for source in new]) if new else [])
        sources += [source for source, _ in batch]
        made += len(new)
    return sources, made
