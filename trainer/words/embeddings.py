"""First embeddings of the vocabulary's pieces, made of those of a pretrained model with another vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from trainer.words.vocabulary import BYTES, SPACE


def piece_embeddings(tokenizer: PreTrainedTokenizerBase, pretrained: PreTrainedTokenizerBase, table: Tensor) -> Tensor:
    """Embeddings of all tokens of ``tokenizer``, (tokens, width), from ``table`` (pretrained tokens, width).

    A piece starts as the mean of the pretrained tokens that spell it, at their mean length; a byte as the pretrained
    token of that byte, a special token as its namesake, any other as the mean of all (our decision). ``pretrained`` is
    a byte-level tokenizer.
    """
    vocabulary, known = tokenizer.get_vocab(), pretrained.get_vocab()
    alphabet = bytes_to_unicode()
    single = {piece: known.get(alphabet[value]) for value, piece in enumerate(BYTES)}
    single |= {token: known.get(token) for token in tokenizer.all_special_tokens}
    spelled = [piece for piece in vocabulary if piece not in single]
    texts = [piece.replace(SPACE, " ") for piece in spelled]
    tokens = dict(zip(spelled, pretrained(texts, add_special_tokens=False)["input_ids"], strict=True))
    embeddings = table.mean(0).repeat(len(tokenizer), 1)
    for piece, number in vocabulary.items():
        parts = [single[piece]] if piece in single else tokens[piece]
        if parts and None not in parts:
            rows = table[parts]
            embeddings[number] = torch.nn.functional.normalize(rows.mean(0), dim=0) * rows.norm(dim=1).mean()
    return embeddings
