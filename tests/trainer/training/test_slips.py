from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.training.slips import PREFIX, noisy


def slips(text: str, count: int = 1000) -> Counter[str]:
    rng = random.Random(0)
    return Counter(noisy(text, rng) for _ in range(count))


def test_most_texts_stay_and_the_rest_are_slips():
    found = slips("red oak chair")
    assert found["red oak chair"] / 1000 == pytest.approx(0.717, abs=0.05)  # a sixth of the orders is the old one
    assert found["red oak cha"] > 0
    for text in found:
        letters = Counter("red oak chair".replace(" ", ""))
        missing = letters - Counter(text)
        assert missing.total() <= 1 or "red oak chair".startswith(text)


@given(st.text(alphabet="abc déü", max_size=30), st.integers(0, 500))
def test_every_slip_loses_a_letter_the_order_or_the_end_of_the_last_word(text, seed):
    found = noisy(text, random.Random(seed))
    one_less = {text[:place] + text[place + 1 :] for place in range(len(text))}
    cut = text.startswith(found) and len(found.split()) == len(text.split())
    assert found == text or sorted(found.split()) == sorted(text.split()) or found in one_less or cut
    if cut and found not in one_less and found.split() != text.split():
        assert len(found.split()[-1]) >= PREFIX


@pytest.mark.parametrize("text", ["红色橡木椅子", "オーク材の椅子", "เก้าอี้ไม้โอ๊ก", "sofa", ""])
def test_texts_without_spaces_and_short_words_keep_their_characters(text):
    assert all(sorted(found) == sorted(text) or (text.startswith(found) and text == "sofa") for found in slips(text))


def test_words_of_chinese_texts_change_places_only():
    assert set(slips("红色 椅子")) == {"红色 椅子", "椅子 红色"}
