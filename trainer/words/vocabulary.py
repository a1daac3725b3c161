"""The student's vocabulary: a Unigram model of the pairs' texts that reads anything else byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

UNKNOWN = "<unk>"
BYTES = [f"<0x{value:02X}>" for value in range(256)]
BYTE_SCORE = -20.0
"""Log-probability of a byte; it does not matter, as bytes stand only for what no piece spells."""
SPACE = "▁"


def train_tokenizer(pairs: pl.DataFrame, pieces: int) -> Tokenizer:
    """A tokenizer with ``pieces`` pieces, bytes included, learned of column ``text`` by column ``weight``.

    Text is normalised (NFKC, lower case, single spaces) and split at spaces, punctuation and digits. Every character
    of the texts is a piece of its own; bytes spell the others.
    """
    tokenizer = _tokenizer(models.Unigram())
    trainer = trainers.UnigramTrainer(
        vocab_size=pieces - len(BYTES), special_tokens=[UNKNOWN], unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(_weighted(pairs), trainer)
    vocabulary = [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    vocabulary[1:1] = [(byte, BYTE_SCORE) for byte in BYTES]
    return _tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))


def _tokenizer(model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(rf"[\s{SPACE}]+"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(SPACE, prepend_scheme="always"),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def _weighted(pairs: pl.DataFrame) -> Iterator[str]:
    for text, weight in pairs.select("text", "weight").iter_rows():
        for _ in range(round(weight)):
            yield text
