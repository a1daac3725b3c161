"""Cleaning, marking and finding segments in token ids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.moon.segments import MARKERS, SEGMENTS, Markers, TokenType, clean, mark

PARTS = [*MARKERS, "<|", "|>", "<", ">", "|", "/", "title", "image", "<image>", "<|im_end|>", "<s>", "</s>", " ", "\n"]
hostile = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=6))).map("".join)


@given(hostile)
def test_clean_is_idempotent_and_leaves_no_marker(text: str):
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert not any(token in cleaned for token in [*MARKERS, "<image>", "<|im_end|>", "<s>", "</s>"])


@given(st.text(alphabet=st.characters(exclude_characters="<"), max_size=60))
def test_clean_only_straightens_spaces_of_ordinary_text(text: str):
    assert clean(text) == " ".join(text.split())


@given(hostile)
def test_marked_text_has_exactly_its_own_markers(text: str):
    marked = mark("category", text)
    if marked:
        assert [marked.count(marker) for marker in MARKERS] == [0, 0, 1, 1, 0, 0]
    else:
        assert not clean(text)


MARK = Markers(((10, 11), (20, 21), (30, 31)), image=5)
IDS = torch.tensor([[5, 5, 10, 1, 2, 11, 20, 3, 21, 30, 4, 4, 31, 0], [0, 0, 20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])


def test_types_follow_from_the_ids_alone():
    assert MARK.types(IDS)[0].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 2, 0, 0]


def test_a_segment_cut_off_by_truncation_lasts_to_the_end():
    assert MARK.types(IDS)[1].tolist() == [0, 0, 0] + [TokenType.CATEGORY] * 11


def test_content_is_pictures_and_segments():
    mask = torch.ones_like(IDS)
    assert MARK.content(IDS, mask)[0].tolist() == [1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0]


def test_a_row_without_content_keeps_its_unpadded_tokens():
    ids, mask = torch.tensor([[0, 7, 8]]), torch.tensor([[0, 1, 1]])
    assert MARK.content(ids, mask).tolist() == [[0, 1, 1]]


def test_parts_are_disjoint_and_cover_the_content():
    mask = torch.ones_like(IDS)
    parts = MARK.parts(IDS, mask)
    assert parts.shape == (*IDS.shape, 1 + len(SEGMENTS))
    assert parts.sum(-1).tolist() == MARK.content(IDS, mask).tolist()


@pytest.mark.parametrize("segment", SEGMENTS)
def test_nothing_is_marked_for_empty_text(segment: str):
    assert mark(segment, " \n <|im_end|> ") == ""
