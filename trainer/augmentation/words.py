"""Words, scripts and languages of titles."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts that put no spaces between words: Thai, Lao, kana and Chinese characters, for a class of an expression."""
_RUN = re.compile(rf"[{UNSPACED}]+")
_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_FUNCTION_WORDS = {
    "en": "the a an and with without of for in on to from by or as at",
    "de": "der die das den dem und oder mit ohne aus auf für von zum zur im in ein eine einem einer",
    "fr": "le la les et ou avec sans de du des en pour sur un une au aux",
    "es": "el la los las y con sin de del para un una en",
    "it": "il lo la gli le e con senza di del della per un una in",
    "pt": "o os as e com sem de do da para um uma em",
    "nl": "de het een en met zonder van voor in op",
}
LANGUAGES = tuple(_FUNCTION_WORDS)
FUNCTION_WORDS = {language: frozenset(own.split()) for language, own in _FUNCTION_WORDS.items()}


def words(text: str) -> list[str]:
    """The words of a text, in scripts that put no spaces between them its characters.

    >>> words("Oak-table, 120cm 木桌")
    ['Oak', 'table', '120cm', '木', '桌']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text))


def folded(text: str) -> list[str]:
    """The words of a text without regard to case."""
    return [word.casefold() for word in words(text)]


def runs(text: str) -> list[str]:
    """The parts of a text in scripts without spaces.

    >>> runs("Oak 木桌, 白")
    ['木桌', '白']
    """
    return _RUN.findall(unicodedata.normalize("NFKC", text))


def pairs(run: str) -> list[str]:
    """Neighbouring characters of a run, which stand for words there; a single character is its own.

    >>> pairs("实木桌"), pairs("白")
    (['实木', '木桌'], ['白'])
    """
    return [run[start : start + 2] for start in range(len(run) - 1)] or [run]


def scripts(text: str) -> list[str]:
    """The scripts of a text's letters, the commonest first.

    >>> scripts("木桌 oak")
    ['LATIN', 'CJK']
    """
    found = [
        unicodedata.name(letter, "?").split()[0] for letter in unicodedata.normalize("NFKC", text) if letter.isalpha()
    ]
    return sorted(set(found), key=lambda script: (-found.count(script), script))


def languages(found: Collection[str]) -> set[str]:
    """The languages, of LANGUAGES, that most of these words are function words of; none if no word is one."""
    counts = {language: len(own.intersection(found)) for language, own in FUNCTION_WORDS.items()}
    most = max(counts.values())
    return {language for language, count in counts.items() if count == most} if most else set()
