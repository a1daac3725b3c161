"""Proof that held-out designs stay held out: in the sampler, in the validation, and in a checkpoint's own record."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import ModelError

if TYPE_CHECKING:
    from trainer.data.home import HomeProduct, HomeSet
    from trainer.training.examples import TripletSampler
    from trainer.training.validate import Validation

logger = logging.getLogger(__name__)


def check_held_out(home: HomeSet, sampler: TripletSampler, validation: Validation) -> None:
    """Raises ModelError if the sampler or the validation holds a product or photo of the test split.

    Photos of other splits that show a test design in the background count as photos of the test split.
    """
    held_out = _groups(p for p in home.products if p.split == "test")
    for name, products, photos in (
        ("training", list(sampler.products.values()), [p for own in sampler.photos.values() for p in own]),
        ("validation", validation.gallery, validation.photos),
    ):
        leaked = sorted(_groups(products) & held_out | {p.group_id for p in photos} & held_out)
        seen = sorted(p.path for p in photos if p.shows_test_model)
        if leaked or seen:
            raise ModelError(
                f"{name} holds the test split: designs {leaked[:3]}, photos {seen[:3]}; correct the data's splits."
            )


def split_record(sampler: TripletSampler, validation: Validation) -> dict[str, dict[str, Any]]:
    """Which splits and designs trained and validated a checkpoint, for its ``training.json``.

    Designs are kept as hashes of their ids in sorted order, so that a later evaluation can tell any overlap.
    """
    trained = list(sampler.products.values())
    return {
        "trained": _record(trained),
        "validated": _record([p for p in validation.gallery if p.product.id not in sampler.products]),
    }


def refuse_trained_on_test(folder: Path, home: HomeSet) -> None:
    """Raises ModelError if the checkpoint's ``training.json`` says that it knows designs of the test split.

    Runs that the checkpoint started from count too. A checkpoint without such a record, for example an untrained
    one, passes with a warning.
    """
    file = folder / "training.json"
    record = json.loads(file.read_text()) if file.exists() else {}
    if "splits" not in record:
        logger.warning("%s has no record of training splits; leakage of test designs cannot be ruled out", folder)
    held_out = set(_hashes(_groups(p for p in home.products if p.split == "test")))
    while record:
        for use, part in record.get("splits", {}).items():
            overlap = held_out & set(part["designs"].split())
            if "test" in part["splits"] or overlap:
                raise ModelError(
                    f"{folder}: {file.name} says that {part['splits']} were {use} on, {len(overlap)} of the "
                    f"{len(held_out)} test designs among them; evaluate a checkpoint that has not seen the test split."
                )
        record = record.get("before")


def _record(products: Iterable[HomeProduct]) -> dict[str, Any]:
    products = list(products)
    return {"splits": sorted({p.split for p in products}), "designs": " ".join(_hashes(_groups(products)))}


def _groups(products: Iterable[HomeProduct]) -> set[str]:
    return {p.product.group_id or p.product.id for p in products}


def _hashes(groups: Iterable[str]) -> list[str]:
    return sorted(hashlib.blake2b(group.encode(), digest_size=5).hexdigest() for group in groups)
