"""What a prepared data set holds: counts, gaps, languages, categories, attributes, duplicates, unreadable pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from app.errors import BadInputError
from trainer.data.corpus import ITEMS, RECORDS, Corpus
from trainer.data.record import MODALITIES, SPLITS, Modality, Split

CHUNK_BATCHES = 50
"""Batches of a corpus's files that are looked at together."""

Part = Literal["text", "picture", "box", "category", "attributes"]
Role = Literal["query", "positive", "negative"]
PARTS: tuple[Part, ...] = ("text", "picture", "box", "category", "attributes")
NO_LETTERS = "no letters"
SCRIPTS: Mapping[str, str] = {
    "Japanese": r"[\p{Hiragana}\p{Katakana}]",
    "Korean": r"\p{Hangul}",
    "Chinese": r"\p{Han}",
    "Cyrillic": r"\p{Cyrillic}",
    "Greek": r"\p{Greek}",
    "Arabic": r"\p{Arabic}",
    "Hebrew": r"\p{Hebrew}",
    "Devanagari": r"\p{Devanagari}",
    "Thai": r"\p{Thai}",
    "Latin": r"\p{Latin}",
    "other": r"\p{L}",
}
"""Languages, or groups of them, by script (our decision): a text counts under the first that it has a letter of."""


@dataclass
class Duplicates:
    """Among ``products`` with ids of their own: those whose title another has, and those that share a group."""

    products: int
    repeated_items: int
    same_title: int
    groups: int
    in_groups: int


@dataclass
class Contents:
    """Counts of a corpus. ``lacking`` says of how many queries, positives and negatives a part is missing.

    A box is missing where there is a picture and no box of it in the data. A record counts under every query modality
    that it is for; ``depths`` and ``attributes`` count items.
    """

    records: dict[Split, int]
    modalities: dict[Split, dict[Modality, int]]
    totals: dict[Role, int]
    lacking: dict[Role, dict[Part, int]]
    duplicates: Duplicates
    query_languages: Counter[str] = field(default_factory=Counter)
    title_languages: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    attributes: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)


def inspect(corpus: Corpus) -> Contents:
    """Look through all items and records once, a chunk at a time."""
    columns = corpus.columns
    rows: dict[Role, NDArray[np.int64]] = {
        "positive": columns["positive"],
        "negative": columns["negative"][columns["negative"] >= 0],
    }
    splits, bits = columns["split"], columns["modalities"]
    contents = Contents(
        records={name: int((splits == place).sum()) for place, name in enumerate(SPLITS)},
        modalities={
            name: {modality: int((bits[splits == place] >> bit & 1).sum()) for bit, modality in enumerate(MODALITIES)}
            for place, name in enumerate(SPLITS)
        },
        totals={"query": corpus.records, **{role: len(own) for role, own in rows.items()}},
        lacking={"query": dict.fromkeys(PARTS[:3], 0)},
        duplicates=_duplicates(corpus),
    )
    has = _look_at_items(corpus, contents)
    for role, own in rows.items():
        contents.lacking[role] = {part: int((~present[own]).sum()) for part, present in has.items()}
    _look_at_records(corpus, contents)
    return contents


def unreadable_pictures(
    corpus: Corpus, count: int, read: Callable[[str], object], seed: int = 0
) -> tuple[int, dict[str, str]]:
    """Open ``count`` different pictures of queries and products, drawn at random.

    Returns how many were tried, and the reason by location of those that raised BadInputError.
    """
    drawn = _draw_pictures(corpus, count, np.random.default_rng(seed))
    broken = {}
    for location in drawn:
        try:
            read(location)
        except BadInputError as error:
            broken[location] = str(error)
    return len(drawn), broken


def _draw_pictures(corpus: Corpus, count: int, rng: np.random.Generator) -> list[str]:
    """Of random records the query's picture and one of the product's."""
    found: dict[str, None] = {}
    for row in rng.choice(corpus.records, size=min(4 * count, corpus.records), replace=False):
        record = corpus.record(int(row))
        pictures = corpus.item(record.positive).pictures
        own = [record.picture] if record.picture else []
        own += [pictures[int(rng.integers(len(pictures)))]] if pictures else []
        found |= dict.fromkeys(picture.location for picture in own)
        if len(found) >= count:
            break
    return list(found)[:count]


def _look_at_items(corpus: Corpus, contents: Contents) -> dict[Part, NDArray[np.bool_]]:
    """Whether each item has each part, (items,)."""
    has: dict[Part, list[NDArray[np.bool_]]] = {part: [] for part in PARTS}
    for chunk in _chunks(corpus.folder / ITEMS):
        pictures = pl.col("pictures").list
        boxes = pictures.eval(pl.element().struct.field("box").is_not_null()).list
        flags = chunk.select(
            (pl.col("title") != "").alias("text"),
            (pictures.len() > 0).alias("picture"),
            ((pictures.len() == 0) | boxes.any()).alias("box"),
            (pl.col("category").list.len() > 0).alias("category"),
            (pl.col("attributes").list.len() > 0).alias("attributes"),
        )
        for part in PARTS:
            has[part].append(flags[part].to_numpy())
        contents.title_languages.update(_languages(chunk.filter(pl.col("title") != "")["title"]))
        contents.depths.update(chunk["category"].list.len().to_list())
        keys = chunk["attributes"].explode(empty_as_null=False).drop_nulls().struct.field("key")
        contents.attributes.update(dict(keys.value_counts().iter_rows()))
    return {part: np.concatenate(arrays) for part, arrays in has.items()}


def _look_at_records(corpus: Corpus, contents: Contents) -> None:
    lacking = contents.lacking["query"]
    for chunk in _chunks(corpus.folder / RECORDS):
        picture = chunk["picture"]
        lacking["text"] += int((chunk["text"] == "").sum())
        lacking["picture"] += int(picture.is_null().sum())
        lacking["box"] += int(picture.drop_nulls().struct.field("box").is_null().sum())
        titles = chunk.filter(pl.col("segment") == "title", pl.col("text") != "")["text"]
        contents.query_languages.update(_languages(titles))
        contents.segments.update(dict(chunk["segment"].value_counts().iter_rows()))


def _languages(texts: pl.Series) -> dict[str, int]:
    text = pl.col("text")
    language = pl.lit(NO_LETTERS)
    for name, letters in reversed(list(SCRIPTS.items())):
        language = pl.when(text.str.contains(letters)).then(pl.lit(name)).otherwise(language)
    found = texts.alias("text").to_frame().select(language.alias("language"))["language"]
    return dict(found.value_counts().iter_rows())


def _duplicates(corpus: Corpus) -> Duplicates:
    distinct = corpus.distinct_items
    titles, groups = (corpus.item_keys[name][distinct] for name in ("title", "group"))
    return Duplicates(
        products=len(distinct),
        repeated_items=corpus.items - len(distinct),
        same_title=sum(_shared(titles)),
        groups=len(_shared(groups)),
        in_groups=sum(_shared(groups)),
    )


def _shared(keys: NDArray[np.int64]) -> list[int]:
    """How many have each key other than 0, of those that several have."""
    counts = np.unique(keys[keys != 0], return_counts=True)[1]
    return [int(count) for count in counts[counts > 1]]


def _chunks(file: Path) -> Iterator[pl.DataFrame]:
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
        batches: list[pa.RecordBatch] = []
        for batch in reader:
            batches.append(batch)
            if len(batches) == CHUNK_BATCHES:
                yield pl.DataFrame(pa.Table.from_batches(batches))
                batches = []
        if batches:
            yield pl.DataFrame(pa.Table.from_batches(batches))
