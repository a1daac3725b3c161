"""Texts of many languages, each with the English text whose teacher vector it is to have (Reimers & Gurevych 2020)."""

from __future__ import annotations

import logging
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from trainer.words.apertium import APERTIUM
from trainer.words.catalog import catalog_texts
from trainer.words.dictionaries import DICTIONARIES, Translation
from trainer.words.domain import Domain, Rank
from trainer.words.pivot import PIVOTS
from trainer.words.wordnet import WORDNET, EnglishWords, read_wordnet

logger = logging.getLogger(__name__)

MAX_ENGLISH, MAX_PER_LANGUAGE = 50_000, 42_000
"""Different English texts, and texts of each other language that dictionaries give."""
LANGUAGES = ("en", "de", "fr", "es", "zh_CN", "zh_TW")
"""Languages with a dictionary; the catalog's texts in them count ``CATALOG_WEIGHT``."""
PACKAGES = (
    WORDNET,
    *(book.package for book in (*DICTIONARIES, APERTIUM)),
    *(package for pivot in PIVOTS for package in (pivot.from_german, pivot.to_german)),
)
"""What :func:`build_pairs` reads."""
CATALOG = "catalog"
"""Source of the texts of the home-goods set."""
CATALOG_WEIGHT, PRODUCT_WEIGHT, WEIGHT = 4.0, 2.0, 1.0
"""How much a text counts: the catalog's own, names of products, all others (our decision)."""


@dataclass(frozen=True)
class Pair:
    """A text, the language it is in, its English equivalent, the package or set it comes from, and what it counts."""

    text: str
    lang: str
    english: str
    source: str
    weight: float


def build_pairs(sources: Path, data: Path, splits: Collection[str] = ("train",)) -> pl.DataFrame:
    """Columns ``text, lang, english, source, weight, row``; ``row`` numbers the English texts as they first occur.

    Only products of ``splits`` are read from the home-goods set in ``data``. The same packages and set give the same
    table. Raises ModelError with the download command of a package that is missing in ``sources``.
    """
    catalog = catalog_texts(data, splits)
    words = read_wordnet(sources)
    domain = Domain(words, {name.english.split()[-1] for name in catalog if name.lang != "en"})
    translated = list(_translations(sources, domain))
    pairs = [Pair(t.text, t.lang, t.english, CATALOG, _catalog_weight(t.lang)) for t in catalog]
    pairs += _english(words, {t.english: rank for t, _, rank in translated}, {pair.english for pair in pairs})
    admitted = {pair.english for pair in pairs}
    pairs += [Pair(text, "en", word, WORDNET.name, WEIGHT) for text, word in words.defined if word in admitted]
    pairs += _foreign([entry for entry in translated if entry[0].english in admitted])
    return _table(pairs)


def _translations(sources: Path, domain: Domain) -> Iterator[tuple[Translation, str, Rank]]:
    """What the dictionaries say of the domain, then what the pivots add to it; with the package that says it."""
    german: list[Translation] = []
    for book in (*DICTIONARIES, APERTIUM):
        for translation in book.translations(sources):
            if (rank := domain.rank(translation.english)) is not None:
                yield translation, book.package.name, rank
                if translation.lang == "de":
                    german.append(translation)
    for pivot in PIVOTS:
        for translation in pivot.translations(sources, german):
            if (rank := domain.rank(translation.english)) is not None:
                yield translation, pivot.to_german.name, rank


def _english(words: EnglishWords, translated: dict[str, Rank], known: set[str]) -> list[Pair]:
    """English texts with themselves: WordNet's, then those that dictionaries translate, the closest first."""
    pairs = [Pair(word, "en", word, WORDNET.name, PRODUCT_WEIGHT) for word in words.products]
    pairs += [Pair(word, "en", word, WORDNET.name, WEIGHT) for word in (*words.descriptions, *words.glosses)]
    near = sorted(translated, key=lambda text: (translated[text], zlib.crc32(text.encode())))
    pairs += [Pair(text, "en", text, "dictionaries", _weight(translated[text])) for text in near]
    fresh = {pair.text: pair for pair in reversed(pairs) if pair.text not in known}
    return list(reversed(fresh.values()))[: MAX_ENGLISH - len(known)]


def _foreign(translated: list[tuple[Translation, str, Rank]]) -> list[Pair]:
    """The closest entries of each language; within a rank a hash chooses, so that no letter is preferred."""
    translated.sort(key=lambda entry: (entry[2], zlib.crc32(entry[0].text.encode()), entry[0].text))
    texts: dict[str, list[Pair]] = defaultdict(list)
    for translation, source, rank in translated:
        if len(own := texts[translation.lang]) < MAX_PER_LANGUAGE:
            own.append(Pair(translation.text, translation.lang, translation.english, source, _weight(rank)))
    return [pair for lang in LANGUAGES for pair in texts[lang]]


def _weight(rank: Rank) -> float:
    return PRODUCT_WEIGHT if rank in (Rank.PRODUCT, Rank.KIND) else WEIGHT


def _catalog_weight(lang: str) -> float:
    return CATALOG_WEIGHT if lang in LANGUAGES else WEIGHT


def _table(pairs: list[Pair]) -> pl.DataFrame:
    unique = {(pair.text, pair.lang, pair.english): pair for pair in reversed(pairs)}
    kept = list(reversed(unique.values()))
    rows = {english: row for row, english in enumerate(dict.fromkeys(pair.english for pair in kept))}
    for (source, lang), count in sorted(Counter((pair.source, pair.lang) for pair in kept).items()):
        logger.info("%s: %d texts in %s", source, count, lang)
    logger.info("%d pairs, %d English texts", len(kept), len(rows))
    table = pl.DataFrame([vars(pair) | {"row": rows[pair.english]} for pair in kept])
    return table.with_columns(pl.col("row").cast(pl.Int32))
