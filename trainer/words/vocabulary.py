"""The student's vocabulary: a Unigram model of the pairs' texts that reads anything else byte by byte."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import polars as pl
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from trainer.words.pairs import CATALOG

UNKNOWN = "<unk>"
BYTES = [f"<0x{value:02X}>" for value in range(256)]
BYTE_SCORE = -20.0
"""Log-probability of a byte; it does not matter, as bytes stand only for what no piece spells."""
MIN_OCCURRENCES = 5
"""Characters in fewer texts are spelled in bytes; of the dictionaries' 8,000 Chinese characters half are so rare."""
SPACE = "▁"


def train_tokenizer(pairs: pl.DataFrame, pieces: int) -> Tokenizer:
    """A tokenizer with ``pieces`` pieces, bytes included, learned of column ``text`` by column ``weight``.

    Text is normalised (NFKC, lower case, single spaces) and split at spaces, punctuation and digits. Every character
    of the texts is a piece of its own, rare ones of the dictionaries aside; bytes spell all others.
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
    """Texts as often as they weigh, without dictionary entries that hold a rare character."""
    occurrences = Counter(character for text in pairs["text"] for character in set(text))
    for text, weight, source in pairs.select("text", "weight", "source").iter_rows():
        if source == CATALOG or all(occurrences[character] >= MIN_OCCURRENCES for character in text):
            for _ in range(round(weight)):
                yield text
