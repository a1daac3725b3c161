"""How shoppers type: with errors, in another order of words, and not to the end."""

from __future__ import annotations

import random
import re

TYPING_ERROR, OTHER_ORDER, PARTIAL_WORD = 0.1, 0.1, 0.1
PREFIX = 3
"""Letters that a partial word has at least."""
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Thai, Lao, kana and Han: one letter less is another word there."""


def noisy(text: str, rng: random.Random) -> str:
    """Now and then a typing error, another order of words, or a last word that ends early, as while typing.

    Letters are left out only of scripts that put spaces between words.
    """
    draw = rng.random()
    if draw < OTHER_ORDER:
        words = text.split()
        rng.shuffle(words)
        return " ".join(words)
    if _UNSPACED.search(text):
        return text
    draw -= OTHER_ORDER
    if draw < TYPING_ERROR and len(text) > 4:
        place = rng.randrange(1, len(text) - 1)
        return text[:place] + text[place + 1 :]
    if TYPING_ERROR <= draw < TYPING_ERROR + PARTIAL_WORD and text and len(last := text.split()[-1]) > PREFIX:
        return text[: text.rindex(last) + rng.randrange(PREFIX, len(last))]
    return text
