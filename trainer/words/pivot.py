"""French and Spanish words by way of German: WikDict's dictionaries lead to German words, the Ding dictionary on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.words.dictionaries import Translation, freedict_package, word_pairs
from trainer.words.packages import Package

MEANINGS = 2
"""English texts that one word is taken to mean: those that most German words lead to (our decision)."""
_LICENCE = "CC-BY-SA-3.0"


@dataclass(frozen=True)
class Pivot:
    """Two dictionaries between ``lang`` and German, one in each direction."""

    lang: str
    from_german: Package
    to_german: Package

    def translations(self, folder: Path, german: Iterable[Translation]) -> list[Translation]:
        """Texts of ``lang`` with the English of their German words. Raises ModelError if a package is missing."""
        links = [(text, word) for word, text in word_pairs(self.from_german, folder)]
        return list(by_way_of([*links, *word_pairs(self.to_german, folder)], self.lang, german))


def by_way_of(links: Sequence[tuple[str, str]], lang: str, known: Iterable[Translation]) -> Iterator[Translation]:
    """Texts of ``lang`` with the English of the words that ``links`` (text, word between) lead to.

    >>> known = [Translation("sessel", "de", "armchair"), Translation("lehnstuhl", "de", "armchair")]
    >>> list(by_way_of([("fauteuil", "sessel"), ("fauteuil", "lehnstuhl")], "fr", known))
    [Translation(text='fauteuil', lang='fr', english='armchair')]
    """
    english, between = defaultdict(list), defaultdict(list)
    for translation in known:
        english[translation.text].append(translation.english)
    for text, word in dict.fromkeys(links):
        between[text].append(word)
    for text, words in between.items():
        votes = Counter(meaning for word in words for meaning in dict.fromkeys(english.get(word, ())))
        for meaning, _ in votes.most_common(MEANINGS):
            yield Translation(text, lang, meaning)


PIVOTS = (
    Pivot("fr", freedict_package("deu-fra", _LICENCE), freedict_package("fra-deu", _LICENCE)),
    Pivot("es", freedict_package("deu-spa", _LICENCE), freedict_package("spa-deu", "GPL-2.0-or-later")),
)
