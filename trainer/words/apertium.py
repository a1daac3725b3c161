"""Translations from Apertium's bilingual dictionaries, which its packages hold as compiled letter transducers.

The format is that of lttoolbox: numbers of one to four bytes whose first two bits say how many follow; the tags, the
pairs of symbols, and for each section its states with their transitions. A path from the first state spells an entry:
``table<n>`` on the one side, ``mesa<n><f>`` on the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.words.dictionaries import Dictionary, Translation, is_plain, tidy
from trainer.words.packages import debian

MAX_SYMBOLS = 60
"""The longest entry that is spelled."""
CLASSES = ("n", "adj", "vblex")
"""Tags of nouns, adjectives and verbs; names and little words are left out."""
_HEADER, _SECTION = b"LTTB", b"LTTD"
_Transitions = list[list[tuple[int, int]]]


def spanish(data: bytes) -> Iterator[Translation]:
    """Entries of the dictionary from English to Spanish. Raises ValueError if it is none."""
    for english, text in entries(data):
        (english, _, tags), (text, _, _) = english.partition("<"), text.partition("<")
        english, text = (tidy(side.replace("#", "")) for side in (english, text))
        if tags.partition(">")[0] in CLASSES and is_plain(english) and is_plain(text):
            yield Translation(text, "es", english)


def entries(data: bytes) -> Iterator[tuple[str, str]]:
    """Both sides of each entry, up to the first tag: ``("table<n>", "mesa<n>")``. Patterns (dates) are left out."""
    file = _File(data)
    try:
        file.header(_HEADER)
        file.text()
        tags = [f"<{file.text()}>" for _ in range(file.number())]
        symbols = ["", *reversed(tags)]
        pairs = [(file.number() - len(tags), file.number() - len(tags)) for _ in range(file.number())]
        spelled = [tuple(chr(code) if code > 0 else symbols[code] for code in pair) for pair in pairs]
        for _ in range(file.number()):
            name = file.text()
            start, transitions = file.section()
            if not name.startswith("regex"):
                yield from _paths(start, transitions, spelled)
    except IndexError as error:
        raise ValueError("it is no compiled dictionary, or it is cut off") from error


def _paths(start: int, transitions: _Transitions, spelled: list[tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    open_paths: list[tuple[int, str, str, tuple[int, ...]]] = [(start, "", "", (start,))]
    while open_paths:
        state, left, right, path = open_paths.pop()
        if left.endswith(">") and right.endswith(">"):
            yield left, right
        elif len(path) <= MAX_SYMBOLS:
            for pair, target in transitions[state]:
                if target not in path:
                    one, other = spelled[pair]
                    new_left, new_right = _longer(left, one), _longer(right, other)
                    open_paths.append((target, new_left, new_right, (*path, target)))


def _longer(side: str, symbol: str) -> str:
    return side if side.endswith(">") else side + symbol


class _File:
    """A compiled dictionary and how far it is read."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        first = self._data[self._at]
        end = self._at + 1 + (first >> 6)
        value = int.from_bytes(bytes([first & 63]) + self._data[self._at + 1 : end])
        self._at = end
        return value

    def text(self) -> str:
        return "".join(chr(self.number()) for _ in range(self.number()))

    def header(self, magic: bytes) -> int:
        """The features that follow ``magic``; ValueError if something else stands there."""
        if self._data[self._at : self._at + 4] != magic:
            raise ValueError(f"{magic.decode()} is missing")
        self._at += 12
        return int.from_bytes(self._data[self._at - 8 : self._at], "little")

    def section(self) -> tuple[int, _Transitions]:
        """The first state, and of each state the pairs of symbols that leave it with the states they lead to."""
        weighted = self.header(_SECTION) & 1
        start = self.number()
        for _ in range(self.number()):
            self._numbers(1 + 2 * weighted)
        states = self.number()
        transitions: _Transitions = []
        for state in range(states):
            pair, leaving = 0, []
            for _ in range(self.number()):
                pair += self.number()
                leaving.append((pair, (state + self.number()) % states))
                self._numbers(2 * weighted)
            transitions.append(leaving)
        return start, transitions

    def _numbers(self, count: int) -> None:
        for _ in range(count):
            self.number()


APERTIUM = Dictionary(
    debian("apertium-eng-spa", "GPL-2.0-only"),
    "usr/share/apertium/apertium-eng-spa/eng-spa.autobil.bin",
    spanish,
)
