"""Which enriched titles may stand for a product: those that say nothing which its record does not hold (our decision).

The paper lets a language model write freely. A title that names another brand or size teaches the model a lie, so these
rules would rather refuse a good title than let a wrong one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from trainer.augmentation.numbers import numbers, says_number
from trainer.augmentation.vocabulary import NAME_WORDS, Vocabulary
from trainer.augmentation.words import folded, languages, pairs, runs, scripts, words
from trainer.data.keys import title_key
from trainer.data.record import Item

LONGEST = 2
"""Times the original title's characters."""
FLOOR = 60
"""Characters that titles of the record's own fields may have in any case: they are facts, and a title such as "Lamp"
has room for none of them within twice its length (our decision)."""
KEPT_WORDS = 0.5
"""Share of the original's words that must remain: a translation, or another product, keeps few."""


def longest(title: str, floor: int = 0) -> int:
    """Characters that an enriched title may have, at least ``floor``."""
    return max(LONGEST * len(title), floor)


class Held:
    """What a product's record holds: title, category, keys and values of attributes."""

    def __init__(self, item: Item) -> None:
        pairs = [part for key, values in item.attributes.items() for part in (key, *values)]
        self.title = item.title
        self.text = "\n".join([item.title, *item.category, *pairs])

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(folded(self.text))

    @cached_property
    def pairs(self) -> frozenset[str]:
        return frozenset(pair for run in runs(self.text) for pair in pairs(run))

    @cached_property
    def numbers(self) -> frozenset[str]:
        return frozenset(numbers(self.text))

    @cached_property
    def scripts(self) -> list[str]:
        return scripts(self.title) or scripts(self.text)


def refusal(title: str, item: Item, vocabulary: Vocabulary = Vocabulary()) -> str:  # noqa: B008
    """Why a title that a model wrote may not stand for ``item``; empty if it may.

    A number, a number in words, or a word with a capital letter must be in the record as it is, at the title's start
    too; so must a brand or model that another record has, however it is written. Any other word must be in the record
    or in the ``vocabulary`` of the record's language. Scripts are those of the record, function words of its language.
    At least half of the title's words stay, and at most twice its characters are taken.

    >>> chair = Item("1", "Oak chair", attributes={"color": ("white",)})
    >>> refusal("Oak chair, white", chair)
    ''
    >>> refusal("Oak chair by Vitra", chair)
    "'Vitra' is not in the record"
    >>> refusal("Oak chair by vitra", chair)
    "'by' is no usual word of the catalog"
    """
    held = Held(item)
    return next(filter(None, (*_reasons(title, held, longest(item.title)), *_strange(title, held, vocabulary))), "")


def fields_refusal(title: str, item: Item) -> str:
    """Why a title that is put together of the values of ``item`` may not stand for it; empty if it may.

    They hold no strange words, and may have FLOOR characters in any case.
    """
    return next(filter(None, _reasons(title, Held(item), longest(item.title, FLOOR))), "")


def _reasons(title: str, held: Held, limit: int) -> Iterator[str]:
    """What each rule says that needs the record alone, the empty string if nothing."""
    yield "" if words(title) else "empty"
    yield "" if title.isprintable() else "holds control characters"
    yield "the same as the original" if title_key(title) == title_key(held.title) else ""
    yield f"{len(title)} characters, {limit} are allowed" if len(title) > limit else ""
    yield from (f"{word!r} is not in the record" for word in _unheld(title, held))
    yield _other_language(title, held)
    own = set(folded(held.title))
    kept = len(own & set(folded(title)))
    yield f"keeps {kept} of the title's {len(own)} words" if kept < KEPT_WORDS * len(own) else ""


def _unheld(title: str, held: Held) -> Iterator[str]:
    """Numbers and words with capitals that the record does not hold."""
    yield from (number for number in numbers(title) if number not in held.numbers)
    for word in words(title):
        named = says_number(word) or any(letter.isupper() for letter in word)
        if named and word.casefold() not in held.words:
            yield word


def _other_language(title: str, held: Held) -> str:
    own = scripts(title)
    if held.scripts and own[:1] != held.scripts[:1]:
        return f"written in {own[0] if own else 'no letters'}, the original in {held.scripts[0]}"
    if strange := sorted(set(own) - set(scripts(held.text))):
        return f"holds letters in {strange[0]}, the record does not"
    if held.scripts[:1] not in ([], ["LATIN"]):
        added = [word for word in words(title) if scripts(word) == ["LATIN"] and word.casefold() not in held.words]
        return f"{added[0]!r} is not in the record" if added else ""
    added_in, written_in = languages(set(folded(title)) - held.words), languages(held.words)
    if added_in and written_in and not added_in & written_in:
        return f"adds words in {'/'.join(sorted(added_in))}, the record is in {'/'.join(sorted(written_in))}"
    return ""


def _strange(title: str, held: Held, vocabulary: Vocabulary) -> Iterator[str]:
    """Names of other records, and words that neither the record nor other products in its language have."""
    own = folded(title)
    names = (tuple(own[start : start + size]) for size in range(1, NAME_WORDS + 1) for start in range(len(own)))
    for name in names:
        if name in vocabulary.names and not held.words.issuperset(name):
            yield f"{' '.join(name)!r} is a name of another record"
    language = vocabulary.language(held.words)
    for word in own:
        if not (runs(word) or word in held.words or vocabulary.allows(word, language)):
            yield f"{word!r} is no usual word of the catalog{f' in {language}' if language else ''}"
    for run in runs(title):
        if strange := _unpaired(run, held, vocabulary):
            yield f"{strange!r} is no usual word of the catalog"


def _unpaired(run: str, held: Held, vocabulary: Vocabulary) -> str:
    """The first characters of a run that stand in no pair which the record or other products have; empty if none."""
    known = [pair in held.pairs or pair in held.words or pair in vocabulary.usual for pair in pairs(run)]
    paired = [any(known[max(place - 1, 0) : place + 1]) for place in range(len(run))]
    if all(paired):
        return ""
    start = paired.index(False)
    return run[start : next((end for end in range(start, len(run)) if paired[end]), len(run))]
