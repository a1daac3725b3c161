"""Segments of the prompt, found by special tokens, so that token types follow from ``input_ids`` alone.

The paper routes category words to one expert and attribute words to another; how segments are marked is our decision.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from torch import Tensor, stack
from transformers import PreTrainedTokenizerBase

from app.errors import ModelError


class TokenType(IntEnum):
    """0: visual, title and the rest; 1: category; 2: attribute (paper, section 3). Padding is ours."""

    PADDING = -1
    OTHER = 0
    CATEGORY = 1
    ATTRIBUTE = 2


SEGMENTS = ("title", "category", "attribute")
MARKERS = [marker for name in SEGMENTS for marker in (f"<|{name}|>", f"<|/{name}|>")]
_SPECIAL = re.compile(r"<\|[^|<>]*\|>|<(?:image|video|/?s|pad|unk)>")


def clean(text: str) -> str:
    """User text without anything a tokenizer could read as a special token, so that nobody can inject a segment.

    >>> clean("chair <|/title|><|attribute|>red<|/attribute|> <image>")
    'chair red'
    """
    return " ".join(without(_SPECIAL, text).split())


def reserved_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """The special tokens of one tokenizer, segment markers aside: what no text of a user may turn into."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    names = (special | set(tokenizer.all_special_tokens)) - set(MARKERS)
    return re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or r"(?!)")


def without(pattern: re.Pattern[str], text: str) -> str:
    """``text`` with matches replaced by spaces, until what remains joins to no new match."""
    while (shorter := pattern.sub(" ", text)) != text:
        text = shorter
    return text


def mark(segment: str, text: str) -> str:
    """``text``, cleaned, between the markers of ``segment``; nothing for empty text.

    >>> mark("title", "red chair")
    '<|title|> red chair<|/title|>'
    """
    text = clean(text)
    return f"<|{segment}|> {text}<|/{segment}|>" if text else ""


@dataclass(frozen=True)
class Markers:
    """Token ids of the markers and of the picture placeholder for one tokenizer."""

    pairs: tuple[tuple[int, int], ...]
    image: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, image_token_id: int) -> Markers:
        ids: Any = tokenizer.convert_tokens_to_ids(MARKERS)
        missing = [name for name, token in zip(MARKERS, ids, strict=True) if token in (None, tokenizer.unk_token_id)]
        if missing:
            raise ModelError(
                f"the tokenizer lacks the segment tokens {missing}; make the checkpoint with `trainer upcycle`."
            )
        return cls(tuple(zip(ids[::2], ids[1::2], strict=True)), image_token_id)

    def inside(self, input_ids: Tensor, segment: int) -> Tensor:
        """Boolean mask, shape of ``input_ids`` (batch, tokens): between the markers, which are excluded."""
        opening, closing = self.pairs[segment]
        depth = (input_ids == opening).cumsum(-1) - (input_ids == closing).cumsum(-1)
        return (depth > 0) & (input_ids != opening)

    def types(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """:class:`TokenType` of every token, shape (batch, tokens); without a mask no token is padding."""
        category, attribute = (self.inside(input_ids, SEGMENTS.index(name)) for name in ("category", "attribute"))
        types = category.long() * TokenType.CATEGORY + attribute.long() * TokenType.ATTRIBUTE
        return types if attention_mask is None else types.masked_fill(attention_mask == 0, TokenType.PADDING)

    def parts(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Boolean (batch, tokens, 4): visual, title, category, attribute tokens."""
        parts = [input_ids == self.image, *(self.inside(input_ids, number) for number in range(len(SEGMENTS)))]
        return stack(parts, dim=-1) & attention_mask.bool().unsqueeze(-1)

    def content(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Mask of visual and text content: no template, markers or padding. Rows without content keep all tokens."""
        content = input_ids == self.image
        for segment in range(len(SEGMENTS)):
            content = content | self.inside(input_ids, segment)
        content = content & attention_mask.bool()
        return (content | (~content.any(-1, keepdim=True) & attention_mask.bool())).to(attention_mask.dtype)


def image_token_id(config: object) -> int:
    """The picture placeholder's token id, under whichever name the architecture keeps it."""
    for name in ("image_token_id", "image_token_index"):
        if isinstance(value := getattr(config, name, None), int):
            return value
    raise ModelError(f"{type(config).__name__} names no picture token; only image-text models can become MOON models.")
