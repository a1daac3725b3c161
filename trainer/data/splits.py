"""Which records of a corpus train, and which choose the checkpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import CatalogError
from trainer.data.corpus import Corpus
from trainer.data.leakage import check_held_out

logger = logging.getLogger(__name__)

DEV_EVERY = 50
"""One of so many products is held out where the data have no development split."""
MIN_RECORDS = 2


@dataclass(frozen=True)
class TrainingRows:
    """Rows of records, ascending; never of the test split."""

    train: NDArray[np.int64]
    dev: NDArray[np.int64]


def training_rows(corpus: Corpus) -> TrainingRows:
    """The splits of the data; without a development split, every fiftieth training product makes one (our decision).

    At least one product does, so that data sets with few products can be tried.

    Raises CatalogError if nothing is left to train on, ModelError if designs of the test split would be.
    """
    train, dev = corpus.rows_of("train"), corpus.rows_of("dev")
    if not len(dev):
        keys = corpus.item_keys
        positives = corpus.columns["positive"][train]
        designs = np.where(keys["group"][positives] != 0, keys["group"][positives], keys["id"][positives])
        held_out = designs % DEV_EVERY == 0
        if len(designs) and not held_out.any():  # few products: one of them
            held_out = designs == designs.min()
        train, dev = train[~held_out], train[held_out]
        logger.info("no development split: every %dth product is held out, %d records", DEV_EVERY, len(dev))
    if len(train) < MIN_RECORDS:
        raise CatalogError(f"{corpus.name}: {len(train)} training records; check the splits with `trainer validate`.")
    check_held_out(corpus, np.concatenate([train, dev]))
    return TrainingRows(train, dev)
