"""Which enriched titles may stand for a product: those that say nothing which its record does not hold (our decision).

The paper lets a language model write freely. A title that names another brand or size teaches the model a lie, so these
rules would rather refuse a good title than let a wrong one pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property

from trainer.data.keys import title_key
from trainer.data.record import Item

LONGEST, FLOOR = 2, 60
"""Times the original title's characters; very short titles may become so long anyway."""
KEPT_WORDS = 0.5
"""Share of the original's words that must remain: a translation, or another product, keeps few."""
NAME_WORDS = 4
"""Words of the longest brand name that is looked for."""
_NAMING = (
    "brand brands manufacturer make model series marke hersteller modell marque fabricant modèle marca fabricante "
    "modelo marchio modello 品牌 厂商 型号 系列"
)
_NUMBER_WORDS = (
    "two three four five six seven eight nine ten eleven twelve dozen double triple twin pair "
    "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dutzend doppelt "
    "deux trois quatre cinq sept huit neuf dix onze douze paire "
    "dos tres cuatro cinco seis siete ocho nueve diez once doce docena "
    "due tre quattro cinque sei sette otto nove dieci dodici paio"
)
NAMING, NUMBER_WORDS = frozenset(_NAMING.split()), frozenset(_NUMBER_WORDS.split())
"""Keys of attributes whose values are names; words that are numbers."""
_FUNCTION_WORDS = {
    "en": "the a an and with of for in on to from by",
    "de": "der die das und mit aus für von zum zur im in ein eine einem einer",
    "fr": "le la les et avec de du des en pour un une au aux",
    "es": "el la los las y con de del para un una en",
    "it": "il lo la gli le e con di del della per un una in",
    "pt": "o os as e com de do da para um uma em",
    "nl": "de het een en met van voor in op",
}
_LANGUAGES = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_PART = rf"[^\W_{_UNSPACED}]*\d[^\W_{_UNSPACED}]*"
_NUMBER = re.compile(rf"{_PART}(?:[.,:/×*-]{_PART})*")


def words(text: str) -> list[str]:
    """The words of a text, in scripts that put no spaces between them its characters.

    >>> words("Oak-table, 120cm 木桌")
    ['Oak', 'table', '120cm', '木', '桌']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text))


def folded(text: str) -> list[str]:
    """The words of a text without regard to case."""
    return [word.casefold() for word in words(text)]


def scripts(text: str) -> list[str]:
    """The scripts of a text's letters, the commonest first.

    >>> scripts("木桌 oak")
    ['LATIN', 'CJK']
    """
    found = [
        unicodedata.name(letter, "?").split()[0] for letter in unicodedata.normalize("NFKC", text) if letter.isalpha()
    ]
    return sorted(set(found), key=lambda script: (-found.count(script), script))


def longest(title: str) -> int:
    """Characters that an enriched title may have."""
    return max(LONGEST * len(title), FLOOR)


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
    def numbers(self) -> frozenset[str]:
        return frozenset(_numbers(self.text))

    @cached_property
    def scripts(self) -> list[str]:
        return scripts(self.title) or scripts(self.text)


def names_in(items: Iterable[Item]) -> frozenset[tuple[str, ...]]:
    """Brands, makers and models that the attributes of ``items`` name, each as its words."""
    values = (v for item in items for key, own in item.attributes.items() if key.casefold() in NAMING for v in own)
    return frozenset(name for value in values if 0 < len(name := tuple(folded(value))) <= NAME_WORDS)


def refusal(title: str, item: Item, names: Collection[tuple[str, ...]] = frozenset()) -> str:
    """Why a title may not stand for ``item``; empty if it may.

    ``names`` are the brands and models of the data set. A number, a number in words, or a word with a capital letter
    must be in the record as it is, at the title's start too; so must a brand or model that another record has, however
    it is written. Scripts are those of the record, function words of its language. At least half of the title's words
    stay, and at most twice its characters are taken.

    >>> chair = Item("1", "Oak chair", attributes={"color": ("white",)})
    >>> refusal("Oak chair, white, comfortable", chair)
    ''
    >>> refusal("Oak chair by Vitra", chair)
    "'Vitra' is not in the record"
    """
    held = Held(item)
    return next(filter(None, (reason for reason in _reasons(title, held, names))), "")


def _reasons(title: str, held: Held, names: Collection[tuple[str, ...]]) -> Iterator[str]:
    """What each rule says, the empty string if nothing."""
    yield "" if words(title) else "empty"
    yield "" if title.isprintable() else "holds control characters"
    yield "the same as the original" if title_key(title) == title_key(held.title) else ""
    limit = longest(held.title)
    yield f"{len(title)} characters, {limit} are allowed" if len(title) > limit else ""
    yield from (f"{word!r} is not in the record" for word in _unheld(title, held))
    yield from (f"{' '.join(name)!r} is a name of another record" for name in _foreign_names(title, held, names))
    yield _other_language(title, held)
    own = set(folded(held.title))
    kept = len(own & set(folded(title)))
    yield f"keeps {kept} of the title's {len(own)} words" if kept < KEPT_WORDS * len(own) else ""


def _unheld(title: str, held: Held) -> Iterator[str]:
    """Numbers and words with capitals that the record does not hold."""
    yield from (number for number in _numbers(title) if number not in held.numbers)
    for word in words(title):
        named = word.casefold() in NUMBER_WORDS or any(letter.isupper() or letter.isnumeric() for letter in word)
        if named and word.casefold() not in held.words:
            yield word


def _numbers(text: str) -> list[str]:
    """Tokens with digits, with what joins them: ``120x60``, ``1.5``, ``10-20``."""
    return _NUMBER.findall(unicodedata.normalize("NFKC", text).casefold())


def _foreign_names(title: str, held: Held, names: Collection[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    if names:
        own = folded(title)
        runs = (tuple(own[start : start + size]) for size in range(1, NAME_WORDS + 1) for start in range(len(own)))
        yield from (run for run in runs if run in names and not held.words.issuperset(run))


def _other_language(title: str, held: Held) -> str:
    own = scripts(title)
    if held.scripts and own[:1] != held.scripts[:1]:
        return f"written in {own[0] if own else 'no letters'}, the original in {held.scripts[0]}"
    if strange := sorted(set(own) - set(scripts(held.text))):
        return f"holds letters in {strange[0]}, the record does not"
    if held.scripts[:1] not in ([], ["LATIN"]):
        added = [word for word in words(title) if scripts(word) == ["LATIN"] and word.casefold() not in held.words]
        return f"{added[0]!r} is not in the record" if added else ""
    added_in, written_in = _languages(set(folded(title)) - held.words), _languages(held.words)
    if added_in and written_in and not added_in & written_in:
        return f"adds words in {'/'.join(sorted(added_in))}, the record is in {'/'.join(sorted(written_in))}"
    return ""


def _languages(found: Collection[str]) -> set[str]:
    """The languages that most of these words are function words of; none if no word is one."""
    counts = {language: len(own.intersection(found)) for language, own in _LANGUAGES.items()}
    most = max(counts.values())
    return {language for language, count in counts.items() if count == most} if most else set()
