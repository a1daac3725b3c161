"""CLIP, FashionCLIP and SigLIP: one tower for pictures, one for text, and a common space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from app.moon.embedder import MAX_PICTURES
from app.moon.fingerprint import model_name
from app.settings import Settings
from trainer.evaluation.models.base import Content, Vectors
from trainer.evaluation.models.checkpoint import TOWERS, Checkpoint
from trainer.evaluation.models.encoder import SentenceModel, load_transformer, unit

SIGLIP = TOWERS["siglip"]


class TwoTowers(SentenceModel):
    """Each tower's pooled, projected output at unit length; a content with both is their sum, renormalised.

    The sum is our decision, as is common for late fusion (the paper does not say how it joined them). Several pictures
    count as the mean of their unit vectors. Queries, products and labels are embedded alike, without prompts.
    """

    def embed(self, contents: Sequence[Content], *, is_query: bool) -> Vectors:
        sums = np.zeros((len(contents), self.dimensions), dtype=np.float32)
        pictures = [image for content in contents for image in content.images[:MAX_PICTURES]]
        owners = [row for row, content in enumerate(contents) for _ in content.images[:MAX_PICTURES]]
        np.add.at(sums, owners, self._encode([{"image": image} for image in pictures], is_query=is_query))
        sums = unit(sums)
        written = [row for row, content in enumerate(contents) if content.text]
        sums[written] += self._encode([{"text": self._text(contents[row])} for row in written], is_query=is_query)
        return unit(sums)

    def _text(self, content: Content) -> str:
        text = super()._text(content)
        return text.lower() if self.family == SIGLIP else text


def open_towers(checkpoint: Checkpoint, settings: Settings) -> TwoTowers:
    """Load CLIP or SigLIP. Text is cut at the text tower's positions: 77 tokens for CLIP, 64 for SigLIP.

    SigLIP saw lower-case text, padded on the right to its full length, and no attention mask; it sees the same here.
    """
    module = load_transformer(checkpoint, settings)
    text: dict[str, Any] = {"truncation": True, "max_length": module.model.config.text_config.max_position_embeddings}
    if checkpoint.family == SIGLIP:
        text |= {"padding": "max_length", "padding_side": "right", "return_attention_mask": False}
    module.processing_kwargs = {"text": text}
    model = SentenceTransformer(modules=[module], device=str(module.model.device))
    return TwoTowers(model, checkpoint, model_name(checkpoint.name), settings.batch_size)
