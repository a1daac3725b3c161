"""Proof that held-out designs stay held out: in training, in validation, and in a checkpoint's own record."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.calibration import FILE as CALIBRATION
from app.calibration import Calibration
from app.errors import ModelError
from trainer.data.keys import id_key
from trainer.data.record import MODALITIES, SPLITS, Split

if TYPE_CHECKING:
    from trainer.data.corpus import Corpus
    from trainer.data.home import HomeProduct, HomeSet

logger = logging.getLogger(__name__)

RECORD = "training.json"
USES = {"trained", "validated"}
"""What a run does with data; merging does neither."""
MAX_DESIGNS = 50_000


def check_held_out(corpus: Corpus, rows: NDArray[np.int64]) -> None:
    """Raises ModelError if records of ``rows`` name a design (group, else product) of the home-goods set's test split.

    Other sets split records, not products: what was bought before may be bought again.
    """
    if corpus.info["format"] != "home":
        return
    leaked = set(_designs(corpus, rows)) & set(_designs(corpus, corpus.rows_of("test")))
    if leaked:
        raise ModelError(f"training holds designs of the test split: {sorted(leaked)[:3]}; correct the data's splits.")


def held_out_items(corpus: Corpus, train: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which items (items,) a record outside of the rows ``train`` names, or share an id or model with such an item."""
    others = np.ones(corpus.records, dtype=np.bool_)
    others[train] = False
    columns = corpus.columns
    named = np.concatenate([columns["positive"][others], columns["negative"][others]])
    named = named[named >= 0]
    held = np.zeros(corpus.items, dtype=np.bool_)
    for keys in (corpus.item_keys["id"], corpus.item_keys["group"]):
        held |= np.isin(keys, keys[named][keys[named] != 0])
    return held


def held_out_pictures(corpus: Corpus, train: NDArray[np.int64], locations: Collection[str]) -> set[str]:
    """Those of the ``locations`` that are the picture of a query outside of the rows ``train``."""
    with_pictures = corpus.columns["modalities"] & ~(1 << MODALITIES.index("text")) != 0
    others = np.setdiff1d(np.flatnonzero(with_pictures), train)
    pictures = (corpus.record(row).picture for row in others) if locations else ()
    return {picture.location for picture in pictures if picture is not None and picture.location in locations}


def check_augmented(corpus: Corpus, train: NDArray[np.int64], ids: Iterable[str], folder: Path) -> None:
    """Raises ModelError if one of the products ``ids`` is asked for by development or test records."""
    names = list(dict.fromkeys(ids))
    held = corpus.item_keys["id"][held_out_items(corpus, train)]
    leaked = [names[place] for place in np.flatnonzero(np.isin(np.array(list(map(id_key, names)), np.int64), held))]
    if leaked:
        raise ModelError(
            f"{folder} holds {len(leaked)} products that development or test records ask for "
            f"({', '.join(leaked[:3])}); held-out data are never augmented: make it again with `trainer augment`."
        )


def split_record(corpus: Corpus, trained: NDArray[np.int64], validated: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Which splits and designs trained and validated a checkpoint, for its ``training.json``.

    Designs are kept as hashes of their ids in sorted order, so that a later evaluation can tell any overlap; of sets
    with more than ``MAX_DESIGNS`` only the splits are.
    """
    return {"trained": _split(corpus, trained), "validated": _split(corpus, validated)}


def refuse_trained_on_test(folder: Path, home: HomeSet) -> bool:
    """Whether the checkpoint's ``training.json`` proves that it knows no design of the test split.

    The record names the designs of every positive, hard negative and development query, of this run, of those that it
    started from and of all that were merged into it. Raises ModelError if one of them is held out, or if the record
    cannot be read. Where a run recorded no splits, as for an untrained checkpoint, a warning is logged. That is no
    proof, nor is a run that recorded splits without their designs.
    """
    file = folder / RECORD
    held_out = set(_hashes(_groups(p for p in home.products if p.split == "test")))
    proven = True
    for record in _runs(file):
        splits = record.get("splits", {})
        proven = proven and ("merged" in record or splits.keys() >= USES)
        if "splits" not in record:
            logger.warning("%s has no record of training splits; leakage of test designs cannot be ruled out", folder)
        for use, part in splits.items():
            seen = set(part["designs"].split())
            if "test" in part["splits"] or held_out & seen:
                raise ModelError(
                    f"{folder}: {file.name} says that {part['splits']} were {use} on, {len(held_out & seen)} of the "
                    f"{len(held_out)} test designs among them; evaluate a checkpoint that has not seen the test split."
                )
            proven = proven and bool(seen)
    return proven


def designs_of(home: HomeSet, split: Split) -> list[str]:
    """Hashes of the designs of a split, as records keep them."""
    return _hashes(_groups(item for item in home.products if item.split == split))


def refuse_calibrated_on_test(calibration: Calibration, home: HomeSet) -> None:
    """Raises ModelError if the calibration was learned from a design of the test split."""
    leaked = set(calibration.designs) & set(designs_of(home, "test"))
    if leaked:
        raise ModelError(
            f"{CALIBRATION} was learned from {len(leaked)} test designs; write it anew with `trainer calibrate`."
        )


def training_seed(folder: Path) -> int | None:
    """The seed of the checkpoint's last run, None if it is not recorded."""
    return _runs(folder / RECORD)[0].get("config", {}).get("seed")


def _runs(file: Path) -> list[dict[str, Any]]:
    """The records of a checkpoint's runs, the last one first; one empty record if there are none."""
    if not file.exists():
        return [{}]
    try:
        record = json.loads(file.read_text())
    except ValueError as error:
        raise ModelError(f"{file}: the record of training cannot be read ({error}); restore or retrain.") from error
    runs = [record]
    while (record := record.get("before")) is not None:
        runs.append(record)
    return runs


def _split(corpus: Corpus, rows: NDArray[np.int64]) -> dict[str, Any]:
    splits = sorted({SPLITS[number] for number in np.unique(corpus.columns["split"][rows])})
    return {"splits": splits, "designs": " ".join(_hashes(_designs(corpus, rows)))}


def _designs(corpus: Corpus, rows: NDArray[np.int64]) -> set[str]:
    columns = corpus.columns
    items = np.unique(np.concatenate([columns["positive"][rows], columns["negative"][rows]]))
    items = items[items >= 0]
    if len(items) > MAX_DESIGNS:
        return set()
    return {item.group or item.id for item in map(corpus.item, items)}


def _groups(products: Iterable[HomeProduct]) -> set[str]:
    return {p.product.group_id or p.product.id for p in products}


def _hashes(groups: Iterable[str]) -> list[str]:
    return sorted(hashlib.blake2b(group.encode(), digest_size=5).hexdigest() for group in groups)
