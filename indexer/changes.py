"""How a catalog differs from the published build, so that the next build can be made from a copy of that one.

Beside every build lies its record, ``records/<build>.parquet``: the columns ``id`` and ``record``, a hash of all that
the build holds of a product, its vector included.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.store.base import Manifest

log = logging.getLogger(__name__)

MAX_SHARE = 0.2
"""With more changes than this share of its products, a base is not copied: the engine would build the graph of a copy
with so many deleted points anew as well (our decision)."""

MAX_DRIFT = 0.05
"""How far a catalog's mean words may be from those that weigh the words of the base; a word's weight changes less."""

_DAMAGE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True)
class Changes:
    """What must be done to a copy of ``base``: ``changed`` are places among the entries, ``removed`` ids."""

    base: Manifest
    changed: NDArray[np.int64]
    removed: list[str]

    def fitted(self, manifest: Manifest) -> Manifest:
        """``manifest`` for a copy, whose words keep the weights that they have."""
        return manifest.model_copy(update={"mean_words": self.base.mean_words})


def make_records(ids: Iterable[str], records: Iterable[bytes]) -> pl.DataFrame:
    """The record of a build, one row for each entry in their order."""
    return pl.DataFrame({"id": ids, "record": records}, schema={"id": pl.String, "record": pl.Binary})


def write_records(records: pl.DataFrame, file: Path) -> None:
    """Keep the record of a build."""
    file.parent.mkdir(parents=True, exist_ok=True)
    records.write_parquet(file)


def changes_since(base: Manifest, manifest: Manifest, records: pl.DataFrame, base_file: Path) -> Changes | None:
    """What differs between the published build and the one that ``manifest`` and ``records`` describe.

    None, with the reason in the log, if the new build has to be made from nothing.
    """
    for name in ("version", "fingerprint", "dimensions", "attribute_keys", "number_keys"):
        if getattr(base, name) != getattr(manifest, name):
            log.info("every product is loaded anew: build %s has another %s", base.build, name)
            return None
    if abs(manifest.mean_words - base.mean_words) > MAX_DRIFT * base.mean_words:
        log.info("every product is loaded anew: texts have become longer or shorter since build %s", base.build)
        return None
    try:
        known = pl.read_parquet(base_file, glob=False)
        current = records.with_row_index("place")
        changed = current.join(known, on=["id", "record"], how="anti")["place"].sort().to_numpy().astype(np.int64)
        removed = known.join(records, on="id", how="anti")["id"].to_list()
    except _DAMAGE as error:
        log.info("every product is loaded anew: the record of build %s cannot be read (%s)", base.build, error)
        return None
    if len(changed) + len(removed) > MAX_SHARE * base.products:
        log.info("every product is loaded anew: %d of %d have changed", len(changed) + len(removed), base.products)
        return None
    log.info(
        "loading %d new or changed products into a copy of build %s, without %d that are gone",
        len(changed),
        base.build,
        len(removed),
    )
    return Changes(base, changed, removed)
