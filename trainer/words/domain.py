"""Which English texts name or describe what a shop sells, and how closely."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from trainer.words.wordnet import EnglishWords


class Rank(IntEnum):
    """How close a text is to what a shop sells; lower ranks are kept first (our decision).

    KIND and COMPOUND are longer texts whose last word is a product: one that the catalog names, or any other.
    """

    KIND = 0
    PRODUCT = 1
    DESCRIPTION = 2
    COMPOUND = 3
    MATTER = 4


class Domain:
    """The domain filter, made of WordNet's words and of ``heads``, the last words of the catalog's names."""

    def __init__(self, words: EnglishWords, heads: Collection[str]) -> None:
        self._ranks: dict[str, Rank] = dict.fromkeys(words.matter, Rank.MATTER)
        self._ranks |= dict.fromkeys(words.descriptions, Rank.DESCRIPTION)
        self._ranks |= dict.fromkeys(words.products, Rank.PRODUCT)
        self._heads = frozenset(heads)

    def rank(self, english: str) -> Rank | None:
        """The rank of a lower-cased text; None if it is outside the domain."""
        if (rank := self._ranks.get(english)) is not None:
            return rank
        *rest, last = english.split()
        head = next((word for word in (last, *_singulars(last)) if self._ranks.get(word) == Rank.PRODUCT), None)
        if not rest or head is None:
            return None
        if head in self._heads:
            return Rank.KIND
        return Rank.COMPOUND if all(word in self._ranks for word in rest) else None


def _singulars(word: str) -> list[str]:
    return [word.removesuffix(end) for end in ("s", "es") if word.endswith(end) and len(word) > len(end) + 2]
