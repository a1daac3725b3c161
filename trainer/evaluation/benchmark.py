"""What all models of an evaluation are asked: queries, gallery, right answers, labels. Made once, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import BadInputError
from app.schema import CATEGORY_SEPARATOR
from trainer.data.corpus import Corpus, StoredRecord
from trainer.data.keys import answer_key
from trainer.data.record import Item, Split
from trainer.evaluation.progress import Track, silently
from trainer.evaluation.relevance import Answers, Places, RightAnswers, location_key

CATEGORY_LEVEL = 4
"""The level of the paper's classification; products whose path ends above it are classified at its end."""

GALLERY_OF_SPLIT = ("mbe", "fashion200k")
"""Formats whose gallery is the products of the split's records: MBE's records come with a product each, and of
Fashion200K the test pictures are searched (Vo et al., CVPR 2019, arXiv 1812.07119)."""


@dataclass(frozen=True)
class Benchmark:
    """Queries are rows of the corpus's records, the gallery is rows of its items; places are indices into ``gallery``.

    ``classified`` are places of products whose category and attributes are predicted: those that the queries bought,
    in M5Product all. ``labels`` is the category of every place at CATEGORY_LEVEL ("" without), ``values`` its
    attributes; ``tops`` is the top-level category of every query's product.
    """

    corpus: Corpus
    split: Split
    queries: NDArray[np.int64]
    gallery: NDArray[np.int64]
    strict: RightAnswers
    duplicate_aware: RightAnswers
    classified: NDArray[np.int64]
    labels: Sequence[str]
    values: Sequence[dict[str, tuple[str, ...]]]
    tops: Sequence[str]


def prepare(
    corpus: Corpus, split: Split = "test", limit: int | None = None, seed: int = 0, track: Track = silently
) -> Benchmark:
    """The benchmark of a split; ``limit`` draws that many queries, the gallery stays whole.

    The gallery is every product of the corpus once, as in a shop; for ``GALLERY_OF_SPLIT`` the products of the split's
    records (for MBE our decision, the paper does not say). Raises BadInputError for a split without queries.
    """
    rows = corpus.rows_of(split)
    gallery = _gallery(corpus, rows)
    if limit is not None and limit < len(rows):
        rows = np.random.default_rng(seed).permutation(rows)
    queries, records = _queries(corpus, rows, limit, track)
    if not records:
        raise BadInputError(f"{corpus.name} has no queries in the split {split!r}; choose another with --split.")
    facts = _Facts(corpus, gallery, track)
    answers = Answers(corpus, gallery, facts.pictures, facts.meanings)
    strict = [answers.strict(record) for record in records]
    wide = [(*own, *answers.duplicates(record)) for own, record in zip(strict, records, strict=True)]
    bought = np.concatenate([own[0] for own in strict])
    return Benchmark(
        corpus,
        split,
        queries,
        gallery,
        RightAnswers(len(gallery), strict),
        RightAnswers(len(gallery), wide),
        _classified(corpus, bought, len(gallery), limit, seed),
        facts.labels,
        facts.values,
        [facts.tops[place] for place in bought],
    )


def category_label(item: Item) -> str:
    """The category path down to CATEGORY_LEVEL, or to its end if that comes first; "" without a category.

    >>> category_label(Item("1", category=("Home", "Seats", "Chairs", "Stools", "Bar stools")))
    'Home > Seats > Chairs > Stools'
    """
    return CATEGORY_SEPARATOR.join(item.category[:CATEGORY_LEVEL])


def _gallery(corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if corpus.info.get("format") not in GALLERY_OF_SPLIT:
        return corpus.distinct_items
    positives = np.unique(corpus.columns["positive"][rows])
    return positives[np.sort(np.unique(corpus.item_keys["id"][positives], return_index=True)[1])]


def _classified(
    corpus: Corpus, bought: NDArray[np.int64], items: int, limit: int | None, seed: int
) -> NDArray[np.int64]:
    """Places in ascending order; of M5Product, whose queries are of labels, ``limit`` at random."""
    if corpus.info.get("format") != "m5":
        return np.unique(bought)
    drawn = np.random.default_rng(seed).permutation(items)[:limit]
    return np.sort(drawn)


def _queries(
    corpus: Corpus, rows: NDArray[np.int64], limit: int | None, track: Track
) -> tuple[NDArray[np.int64], list[StoredRecord]]:
    """Rows and records of queries, without label texts, which only train; in the corpus's order."""
    kept: list[tuple[int, StoredRecord]] = []
    for row in track(rows, "queries"):
        if limit is not None and len(kept) >= limit:
            break
        record = corpus.record(row)
        if record.segment == "title":
            kept.append((int(row), record))
    kept.sort(key=lambda pair: pair[0])
    return np.array([row for row, _ in kept], dtype=np.int64), [record for _, record in kept]


class _Facts:
    """One pass over the gallery's items: what judging needs of them."""

    def __init__(self, corpus: Corpus, gallery: NDArray[np.int64], track: Track) -> None:
        self.labels: list[str] = []
        self.tops: list[str] = []
        self.values: list[dict[str, tuple[str, ...]]] = []
        pictures: list[tuple[int, int]] = []
        meanings: list[tuple[int, int]] = []
        for place, row in enumerate(track(gallery, "gallery")):
            item = corpus.item(row)
            self.labels.append(category_label(item))
            self.tops.append(item.category[0] if item.category else "")
            self.values.append({name: own for name, own in item.attributes.items() if own})
            pictures += [(location_key(picture.location), place) for picture in item.pictures]
            meanings += [(answer_key(meaning), place) for meaning in item.answers]
        self.pictures, self.meanings = _places(pictures), _places(meanings)


def _places(found: Sequence[tuple[int, int]]) -> Places:
    keys, places = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return Places(keys, places)
