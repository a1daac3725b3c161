"""BM25 as sparse vectors: the words of products and queries, weighed so that the engine only adds them up.

A product's score is the sum, over the query's distinct words, of the word's rarity (inverse document frequency, kept by
the engine: ``Modifier.IDF``) times the weight that :func:`product_words` gives it. All of it is our decision.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice, pairwise
from statistics import fmean

from app.schema import Product

SATURATION = 0.5
"""BM25's k1: how soon further occurrences of a word stop counting; below the usual 1.2, as titles name a thing once."""
LENGTH_SHARE = 0.75
"""BM25's b: how much a text's length takes from the weight of its words."""
MAX_QUERY_WORDS = 64
"""Words of a query that are searched for, the first ones."""

SparseVector = dict[int, float]
"""Weights by word number, an unsigned 32-bit hash of the word."""

_ASCII_WORDS = re.compile("[a-z0-9]+")
_UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+)")
"""Runs of Han, Kana and Hangul, which are written without spaces, or with words too long to be matched whole."""


def words(text: str) -> Iterable[str]:
    """Words of a text in lower case: runs of letters, marks and digits; of Chinese, Japanese and Korean runs the
    characters and their neighbouring pairs.

    >>> list(words("Étagère, 2-türig")), list(words("扶手椅 IKEA"))
    (['étagère', '2', 'türig'], ['扶', '手', '椅', '扶手', '手椅', 'ikea'])
    """
    return _ASCII_WORDS.findall(text.lower()) if text.isascii() else _words_of_any_script(text)


def _words_of_any_script(text: str) -> Iterator[str]:
    spaced = "".join(map(_letter_or_space, unicodedata.normalize("NFKC", text).casefold()))
    for run in spaced.split():
        for place, part in enumerate(_UNSPACED.split(run)):
            if place % 2:
                yield from part
                yield from (first + second for first, second in pairwise(part))
            elif part:
                yield part


def text_length(product: Product) -> int:
    """Words of title, category and attributes."""
    return sum(len(list(words(text))) for text in (product.title, *_common_texts(product)))


def mean_length(lengths: Iterable[int]) -> float:
    """Mean :func:`text_length` of those products that have any words, 0 if none has."""
    counted = [length for length in lengths if length]
    return fmean(counted) if counted else 0.0


def product_words(product: Product, mean_length: float) -> SparseVector:
    """BM25 weights, between 0 and 1, of the words of title, category, attributes and the titles in other languages.

    The titles of a product say the same in several languages, and a query is written in one of them: so a word counts
    as often as in the title that has it most often, and the text is as long as with the main title alone. A title in
    another language thus changes the weights of no words but its own.

    >>> lamp = Product(id="1", title="Desk lamp", titles={"de": "Tischlampe"})
    >>> sorted(product_words(lamp, mean_length=2).values())
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666]
    """
    if not mean_length:
        return {}
    title, common = _numbers(product.title), _numbers(*_common_texts(product))
    length = len(title) + len(common)
    counts = Counter(title)
    for other in product.titles.values():
        counts |= Counter(_numbers(other))
    counts.update(common)
    damping = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * length / mean_length)
    return {number: count / (count + damping) for number, count in counts.items()}


def query_words(text: str) -> list[int]:
    """Numbers of the first distinct words of a query; each weighs the same but for its rarity."""
    return list(dict.fromkeys(map(_number, islice(words(text), MAX_QUERY_WORDS))))


def _common_texts(product: Product) -> list[str]:
    return [*product.category, *(value for values in product.attributes.values() for value in values)]


def _numbers(*texts: str) -> list[int]:
    return [_number(word) for text in texts for word in words(text)]


@lru_cache(100_000)
def _number(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


@lru_cache(100_000)
def _letter_or_space(character: str) -> str:
    return character if unicodedata.category(character)[0] in "LMN" else " "
