"""Words that titles written by a model may add: those of other training products in the language, and no names.

A list of all words of a language would let brands such as "apple" and wrong languages through; what a shop itself
writes, in small letters and for several products, is its own list (our decision).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainer.augmentation.words import FUNCTION_WORDS, LANGUAGES, folded, pairs, runs, words
from trainer.data.keys import title_key
from trainer.data.record import Item

LOOKED_AT = 100_000
"""Products whose words are taken, evenly drawn, so that memory does not grow with the catalog."""
USES = 2
"""Products with different titles that must use a word."""
NAME_WORDS = 4
"""Words of the longest brand name that is looked for."""
ROUNDS = 3
"""Times that languages are passed on between texts that share words."""
SHARE = 0.2
"""Of a word's texts that are in a language, at least so many, or it is no word of that language."""
_NAMING = (
    "brand brands manufacturer make model series marke hersteller modell marque fabricant modèle marca fabricante "
    "modelo marchio modello 品牌 厂商 型号 系列"
)
NAMING = frozenset(_NAMING.split())
"""Keys, or words of keys, of attributes whose values are names."""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """``names`` of products, the ``usual`` words, and what ``languages`` the texts are in that use any word, as shares.

    Without products it holds nothing, and allows nothing.
    """

    names: frozenset[tuple[str, ...]] = frozenset()
    usual: frozenset[str] = frozenset()
    places: Mapping[str, int] = field(default_factory=dict)
    languages: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, len(LANGUAGES)), np.float32))
    """By the ``places`` of words: (words, LANGUAGES)."""

    def language(self, found: Iterable[str]) -> str:
        """The language that speaks most for these words, as other texts use them; empty if none is known."""
        known = [self.places[word] for word in found if word in self.places]
        shares = self.languages[known].sum(axis=0)
        return LANGUAGES[int(shares.argmax())] if shares.any() else ""

    def allows(self, word: str, language: str) -> bool:
        """Whether a word is usual in that language; texts whose language is not known share one."""
        if word not in self.usual:
            return False
        shares = self.languages[self.places[word]]
        return bool(shares[LANGUAGES.index(language)] >= SHARE) if language else not shares.any()


def read_vocabulary(items: Iterable[Item], count: int) -> Vocabulary:
    """The vocabulary of ``count`` items, each of which is read once.

    Names are those of all of them. Words come from titles, categories and the values of attributes that are no names.
    A text in no language that function words tell gets that of the texts with which it shares most words.
    """
    names, titles = set[tuple[str, ...]](), set[int]()
    places: dict[str, int] = {}
    uses, of_word, of_text = array("q"), array("q"), array("q")
    for number, item in enumerate(items):
        names.update(_names(item))
        title = title_key(item.title)
        if number % (count // LOOKED_AT + 1) or title in titles:
            continue
        titles.add(title)
        text = _text(item)
        small = set(_in_small_letters(text))
        for word in small.union(folded(text)):
            place = places.setdefault(word, len(places))
            uses.extend([0] * (place == len(uses)))
            uses[place] += word in small
            of_word.append(place)
            of_text.append(len(titles) - 1)
    shares = _languages(places, np.array(of_word, np.int64), np.array(of_text, np.int64))
    usual = (word for word, place in places.items() if uses[place] >= USES)
    return Vocabulary(frozenset(names), frozenset(usual), places, shares)


def _names(item: Item) -> Iterator[tuple[str, ...]]:
    """Brands, makers and models that the attributes name, each as its words."""
    for key, values in item.attributes.items():
        if _is_naming(key):
            yield from (name for value in values if 0 < len(name := tuple(folded(value))) <= NAME_WORDS)


def _is_naming(key: str) -> bool:
    """Also "Brand name", "model_number"."""
    return key.casefold() in NAMING or not NAMING.isdisjoint(folded(key))


def _text(item: Item) -> str:
    values = (value for key, own in item.attributes.items() if not _is_naming(key) for value in own)
    return "\n".join([item.title, *item.category, *values])


def _in_small_letters(text: str) -> Iterator[str]:
    """Words as names are seldom written, and pairs of characters in scripts without spaces."""
    yield from (word for word in words(text) if word == word.casefold() and not runs(word))
    for run in runs(text):
        yield from pairs(run)


def _languages(places: Mapping[str, int], of_word: Places, of_text: Places) -> NDArray[np.float32]:
    """Of every word, the shares of its texts' languages (words, LANGUAGES); zeros where none is known.

    One text more than there are divides them, so that words of few texts say less.
    """
    texts = int(of_text[-1]) + 1 if len(of_text) else 0
    shares = np.zeros((len(places), len(LANGUAGES)), dtype=np.float32)
    for column, language in enumerate(LANGUAGES):
        shares[[places[word] for word in FUNCTION_WORDS[language] if word in places], column] = 1
    for _ in range(ROUNDS):
        heard = np.zeros((texts, len(LANGUAGES)), dtype=np.float32)
        np.add.at(heard, of_text, shares[of_word])
        best = heard.max(axis=1, keepdims=True)
        spoken = ((heard == best) & (best > 0)).astype(np.float32)
        spoken[spoken.sum(axis=1) > 1] = 0
        votes = np.zeros_like(shares)
        np.add.at(votes, of_word, spoken[of_text])
        shares = votes / (votes.sum(axis=1, keepdims=True) + 1)
    return shares
