"""Which candidates are good enough: near to their own product and its category, and nearer to no other product."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from trainer.augmentation.config import TITLE, AugmentConfig
from trainer.augmentation.examples import Examples
from trainer.augmentation.kept import Candidate, Kept, KeptProducts, Room
from trainer.augmentation.tables import Tables
from trainer.data.augmented import NOTE
from trainer.data.corpus import Corpus
from trainer.data.record import Item

UNFINISHED = "unfinished-"
BATCH = 256
"""Products that are judged together."""
NEAREST = 32
"""Nearest products that are looked at for one of another model."""
ROUNDING = 1e-3
"""What half precision may make of a cosine."""

Vectors = NDArray[Any]
Search = Callable[[Vectors, Vectors, int], tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Rows of the gallery and scores of the k best per query, best first; see :func:`trainer.evaluation.search.top_k`."""


@dataclass
class Outcome:
    """What to look at, numbers by kind, and why candidates were rejected."""

    examples: Examples
    kept: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Demands:
    """What holds beside the comparison with other products, and is asked anew in every run.

    ``refuse`` says why a title may not stand for a product, ``is_room`` whether a photo may still train.
    """

    config: AugmentConfig
    refuse: Callable[[str, Item], str]
    is_room: Callable[[Room], bool]

    def unmet(self, one: Candidate, item: Item) -> str:
        """The reason against a candidate of a product; empty if there is none."""
        if one.reason:
            return one.reason
        if one.kind == TITLE and (reason := self.refuse(one.what, item)):
            return reason
        if one.room is not None and not self.is_room(one.room):
            return "the photo of its room is none of the training data any more"
        return _too_far(one, self.config)


def select(
    corpus: Corpus,
    rows: NDArray[np.int64],
    sources: Sequence[str],
    kept: KeptProducts,
    out: Path,
    demands: Demands,
    *,
    search: Search,
    dimensions: int,
    note: dict[str, Any],
) -> Outcome:
    """Judge everything that was made of the items ``rows`` and write the tables to ``out``.

    The products' vectors lie in a temporary file meanwhile, two bytes per item and dimension.
    """
    result = Outcome(Examples(len(rows), demands.config.seed))
    for left_by_a_killed_run in out.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left_by_a_killed_run)
    with TemporaryDirectory(dir=out, prefix=UNFINISHED) as folder:
        gallery = _gallery(sources, kept, Path(folder), dimensions)
        with Tables(Path(folder), {NOTE: json.dumps(note)}) as tables:
            for start in range(0, len(rows), BATCH):
                part = range(start, min(start + BATCH, len(rows)))
                items = [corpus.item(rows[place]) for place in part]
                products = [kept.product(sources[place]) for place in part]
                verdicts = _judge(corpus, rows, part, items, products, gallery, demands, search)
                tables.add(list(zip(items, products, verdicts, strict=True)))
                for place, product, own in zip(part, products, verdicts, strict=True):
                    _count(result, product, own)
                    result.examples.add(int(rows[place]), product.candidates, own)
        for name in tables.files:
            (Path(folder) / name).replace(out / name)
    return result


def _gallery(sources: Sequence[str], kept: KeptProducts, folder: Path, dimensions: int) -> NDArray[np.float16]:
    """Vectors of the products as they are (products, dimensions); zeros, which are near to nothing, for one without."""
    vectors = open_memmap(folder / "products.npy", mode="w+", dtype=np.float16, shape=(len(sources), dimensions))
    for place, source in enumerate(sources):
        if (vector := kept.product(source).vector) is not None:
            vectors[place] = vector
    return vectors


def _judge(
    corpus: Corpus,
    rows: NDArray[np.int64],
    part: range,
    items: Sequence[Item],
    products: Sequence[Kept],
    gallery: NDArray[np.float16],
    demands: Demands,
    search: Search,
) -> list[list[str]]:
    """The reason against each candidate of each product, empty for those that are good."""
    asked = {
        (number, place): candidate
        for number, product in enumerate(products)
        for place, candidate in enumerate(product.candidates)
        if candidate.vector is not None
    }
    nearer: dict[tuple[int, int], str] = {}
    if asked:
        queries = np.stack([candidate.vector for candidate in asked.values() if candidate.vector is not None])
        found, scores = search(queries, gallery, NEAREST)
        for (key, candidate), near, own in zip(asked.items(), found, scores, strict=True):
            nearer[key] = _nearer(corpus, rows, part[key[0]], candidate, near, own)
    return [
        [demands.unmet(one, item) or nearer.get((number, place), "") for place, one in enumerate(product.candidates)]
        for number, (item, product) in enumerate(zip(items, products, strict=True))
    ]


def _nearer(
    corpus: Corpus,
    rows: NDArray[np.int64],
    place: int,
    candidate: Candidate,
    found: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> str:
    """What is nearer to a candidate than its own product: one of another model, with another title."""
    alike = np.zeros(len(found), dtype=np.bool_)
    for name in ("id", "group", "title"):
        keys = corpus.item_keys[name]
        alike |= (keys[rows[found]] == keys[rows[place]]) & (keys[rows[place]] != 0)
    others = np.flatnonzero(~alike & (scores > (candidate.score or 0.0) + ROUNDING))
    return f"nearer to {corpus.item(rows[found[others[0]]]).id} ({scores[others[0]]:.2f})" if len(others) else ""


def _too_far(candidate: Candidate, config: AugmentConfig) -> str:
    if candidate.score is None:
        return "the product has neither title nor pictures to compare with"
    if candidate.score < config.min_score:
        return f"score below {config.min_score:g}"
    if candidate.category_score is not None and candidate.category_score < config.min_category_score:
        return f"score with the category, {candidate.category_score:.2f}, below {config.min_category_score:g}"
    return ""


def _count(result: Outcome, product: Kept, verdicts: Sequence[str]) -> None:
    for one, reason in zip(product.candidates, verdicts, strict=True):
        (result.rejected if reason else result.kept)[one.kind] += 1
        if reason:
            result.reasons[_kind_of(reason)] += 1


def _kind_of(reason: str) -> str:
    """A reason without what it is about, so that alike ones count together."""
    if reason.startswith("nearer to "):
        return "nearer to another product"
    return re.sub(r"^(['\"]).*\1 is ", "a word or number is ", reason)
