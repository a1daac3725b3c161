"""Numbers that stand for ids, models, titles and meanings, so that a batch can be searched for false negatives.

A document is a false negative of a query if the two share a key: the same product, a SKU of the same model, the same
normalised title (our decisions, see the loss), another product bought for the query, or one that it means just as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

WIDTH = 24
"""Keys per query and per document; more are cut, the last ones first."""
_BETWEEN_WORDS = re.compile(r"[\W_]+")


def key(kind: str, value: str) -> int:
    """A positive 63-bit number for a value of a kind; 0, "no key", for the empty value."""
    if not value:
        return 0
    digest = hashlib.blake2b(f"{kind}\0{value}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def id_key(product_id: str) -> int:
    return key("id", product_id)


def group_key(group: str) -> int:
    return key("group", group)


def title_key(title: str) -> int:
    """Titles that differ in case, punctuation or spaces only are the same."""
    return key("title", _BETWEEN_WORDS.sub(" ", title.casefold()).strip())


def answer_key(meaning: str) -> int:
    return key("answer", meaning)


def padded(keys: Iterable[int]) -> Sequence[int]:
    """Distinct keys other than 0, filled up with 0 or cut to ``WIDTH``."""
    found = list(dict.fromkeys(number for number in keys if number))[:WIDTH]
    return found + [0] * (WIDTH - len(found))
