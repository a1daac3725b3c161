"""English words of things a shop sells or describes, and their definitions, from WordNet 3.0."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.words.packages import debian

WORDNET = debian("wordnet-base", "WordNet 3.0 licence (permissive)")

PRODUCTS = {"06": "artifact", "13": "food"}
"""Lexicographer files (lexnames(5WN)) of what is sold; their definitions are taken, too."""
MATTER = {"05": "animal", "08": "body", "17": "object", "20": "plant", "25": "shape", "27": "substance"}
ATTRIBUTES = {"07": "attribute"}
COLOURS = {"chromatic color", "achromatic color"}
MIN_TAGS = 8
"""Adjectives, verbs and nouns of attributes: as often must WordNet's tagged texts hold the word."""
MAX_WORDS, MAX_GLOSS_WORDS = 4, 12
_LEMMA = re.compile(r"[A-Za-z][A-Za-z'. -]*")
_RANKS = {"genus", "family", "order", "class", "phylum", "suborder", "superfamily", "subfamily", "division"}


@dataclass(frozen=True)
class Synset:
    """One meaning: its words, lexicographer file, definition, offset and those of its hypernyms."""

    lemmas: tuple[str, ...]
    file: str
    gloss: str
    offset: str
    hypernyms: tuple[str, ...]
    instance: bool


@dataclass(frozen=True)
class EnglishWords:
    """Words in the order of WordNet: what is sold, what describes it, other matter; and definitions of what is sold.

    ``defined`` holds the definitions of artifacts with the first word that each defines.
    """

    products: tuple[str, ...]
    descriptions: tuple[str, ...]
    matter: tuple[str, ...]
    glosses: tuple[str, ...]
    defined: tuple[tuple[str, str], ...] = ()


def read_wordnet(folder: Path) -> EnglishWords:
    """Read the package from ``folder``. Raises ModelError if it is missing or damaged."""
    nouns, verbs, adjectives = (
        list(synsets(WORDNET.read(folder, f"usr/share/wordnet/data.{part}").decode()))
        for part in ("noun", "verb", "adj")
    )
    tags = tag_counts(WORDNET.read(folder, "usr/share/wordnet/cntlist.rev").decode())
    sold = [synset for synset in nouns if synset.file in PRODUCTS and not synset.instance]
    matter = [lemma for synset in nouns if synset.file in MATTER for lemma in synset.lemmas if _is_common(lemma)]
    tagged = [(lemma, "n") for synset in nouns if synset.file in MATTER | ATTRIBUTES for lemma in synset.lemmas]
    tagged += [(lemma, "a") for synset in adjectives for lemma in synset.lemmas]
    tagged += [(lemma, "v") for synset in verbs for lemma in synset.lemmas]
    descriptions = [lemma for synset in _below(nouns, COLOURS) for lemma in synset.lemmas]
    descriptions += [lemma for lemma, part in tagged if tags[lemma, part] >= MIN_TAGS and _is_common(lemma)]
    glossed = [synset for synset in sold if 2 <= len(synset.gloss.split()) <= MAX_GLOSS_WORDS]
    return EnglishWords(
        tuple(dict.fromkeys(lemma.lower() for synset in sold for lemma in synset.lemmas)),
        tuple(dict.fromkeys(lemma.lower() for lemma in descriptions)),
        tuple(dict.fromkeys(matter)),
        tuple(dict.fromkeys(synset.gloss.lower() for synset in glossed)),
        tuple((s.gloss.lower(), s.lemmas[0].lower()) for s in glossed if s.lemmas and PRODUCTS[s.file] == "artifact"),
    )


def synsets(data: str) -> Iterator[Synset]:
    """Parse a data file, see wndb(5WN); the licence stands in lines that start with two spaces."""
    for line in data.splitlines():
        if line.startswith("  "):
            continue
        fields, _, gloss = line.partition(" | ")
        parts = fields.split()
        words = int(parts[3], 16)
        pointers = parts[5 + 2 * words :]
        lemmas = (re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in parts[4 : 4 + 2 * words : 2])
        pairs = list(zip(pointers[::4], pointers[1::4], strict=False))
        yield Synset(
            tuple(lemma for lemma in lemmas if _LEMMA.fullmatch(lemma) and len(lemma.split()) <= MAX_WORDS),
            parts[1],
            definition(gloss),
            parts[0],
            tuple(target for symbol, target in pairs if symbol == "@"),
            any(symbol == "@i" for symbol, _ in pairs),
        )


def definition(gloss: str) -> str:
    """The definition without examples and remarks.

    >>> definition('(informal) a seat for one person, with a back; "he sat down"; "put it on the chair"  ')
    'a seat for one person, with a back'
    """
    return " ".join(re.sub(r"\([^)]*\)", " ", gloss.split('"')[0]).split(";")[0].split())


def tag_counts(cntlist: str) -> Counter[tuple[str, str]]:
    """How often the tagged texts hold each (word, part of speech); the file is described in cntlist(5WN)."""
    counts: Counter[tuple[str, str]] = Counter()
    parts = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
    for line in cntlist.splitlines():
        key, _, count = line.split()
        word, _, sense = key.rpartition("%")
        counts[word.replace("_", " "), parts[sense[0]]] += int(count)
    return counts


def _is_common(lemma: str) -> bool:
    """Whether it is no name, and no rank of biology such as "genus rosa"."""
    return lemma.islower() and lemma.split()[0] not in _RANKS


def _below(nouns: list[Synset], tops: set[str]) -> list[Synset]:
    found = {synset.offset for synset in nouns if tops & set(synset.lemmas)}
    while new := {s.offset for s in nouns if s.offset not in found and found & set(s.hypernyms)}:
        found |= new
    return [synset for synset in nouns if synset.offset in found]
