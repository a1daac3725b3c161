"""Multimodal language models: pictures and text in one sequence through the model's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from app.errors import ModelError
from app.moon.embedder import MAX_PICTURES
from app.moon.fingerprint import model_name
from app.settings import Settings
from trainer.evaluation.models.base import Content, Vectors
from trainer.evaluation.models.checkpoint import GME, QWEN3_EMBEDDING, Checkpoint
from trainer.evaluation.models.encoder import (
    SentenceModel,
    StrictTransformer,
    device_and_dtype,
    load_transformer,
    loading,
)
from trainer.evaluation.models.towers import TwoTowers

PAD = "<|endoftext|>"


@dataclass(frozen=True)
class Recipe:
    """How a language model is made to embed.

    ``pooling`` over the last hidden states: ``mean`` of all tokens but padding, or the last token. The instructions
    are system prompts for products and labels, for queries of words alone, and for queries with a picture; None leaves
    the chat template's own. ``reply`` opens the assistant's turn, ``end`` is the token that closes the sequence, and
    larger pictures than ``max_pixels`` are shrunk where the model's processor would not do it.
    """

    pooling: Literal["mean", "lasttoken"] = "mean"
    product: str | None = None
    text_query: str | None = None
    image_query: str | None = None
    reply: bool = False
    end: str = ""
    max_pixels: int = 1800 * 32 * 32

    def instruction(self, content: Content, is_query: bool) -> str | None:
        if not is_query:
            return self.product
        return self.image_query if content.images else self.text_query


HELPFUL = "You are a helpful assistant."
RETRIEVE = "Retrieve images or text relevant to the user's query."

ZERO_SHOT = Recipe()
"""Qwen-VL and InternVL as they are. The paper evaluates them zero-shot without saying how: the mean is our decision."""

RECIPES = {
    # As in GME's own inference script; the instruction for text queries is its model card's for text to image. That
    # queries with a picture keep the default instruction is our decision.
    GME: Recipe(
        pooling="lasttoken",
        product=HELPFUL,
        text_query="Find an image that matches the given text.",
        image_query=HELPFUL,
        reply=True,
        end=PAD,
        max_pixels=1280 * 28 * 28,
    ),
    # As in its repository's examples. That it pools at this token rather than at the template's end follows its report.
    QWEN3_EMBEDDING: Recipe(
        pooling="lasttoken",
        product="Represent the user's input.",
        text_query=RETRIEVE,
        image_query=RETRIEVE,
        reply=True,
        end=PAD,
    ),
}


class JointModel(SentenceModel):
    """All pictures of a content, then its text, in one sequence. A query's instruction is the system prompt."""

    def __init__(
        self, model: SentenceTransformer, recipe: Recipe, checkpoint: Checkpoint, name: str, batch_size: int
    ) -> None:
        super().__init__(model, checkpoint, name, batch_size)
        self._recipe = recipe

    def embed(self, contents: Sequence[Content], *, is_query: bool) -> Vectors:
        vectors = np.zeros((len(contents), self.dimensions), dtype=np.float32)
        instructions = [self._recipe.instruction(content, is_query) for content in contents]
        for instruction in dict.fromkeys(instructions):
            rows = [row for row, own in enumerate(instructions) if own == instruction]
            inputs = [self._input(contents[row]) for row in rows]
            vectors[rows] = self._encode(inputs, instruction, is_query=is_query)
        return vectors

    def _input(self, content: Content) -> dict[str, Any]:
        parts: dict[str, Any] = {"image": list(content.images[:MAX_PICTURES])} if content.images else {}
        text = self._text(content)
        return {**parts, "text": text} if text or not parts else parts


def open_joint(checkpoint: Checkpoint, settings: Settings) -> JointModel:
    """Load a multimodal language model by its family's recipe, on top of transformers' own classes."""
    recipe = RECIPES.get(checkpoint.family, ZERO_SHOT)
    module = load_transformer(checkpoint, settings)
    if getattr(module.processor, "chat_template", None) is None:
        raise ModelError(f"{checkpoint.name} has no chat template to write its input; choose an instruct model.")
    _follow(recipe, module)
    pooling = Pooling(module.get_embedding_dimension(), pooling_mode=recipe.pooling)
    model = SentenceTransformer(modules=[module, pooling, Normalize()], device=str(module.model.device))
    return JointModel(model, recipe, checkpoint, model_name(checkpoint.name), settings.batch_size)


def _follow(recipe: Recipe, module: StrictTransformer) -> None:
    """Right padding, no truncation (it could cut inside a picture's tokens), the recipe's ending and picture size."""
    tokenizer: Any = module.tokenizer
    if recipe.end and tokenizer("a")["input_ids"][-1] != tokenizer.convert_tokens_to_ids(recipe.end):
        module.processor.chat_template += recipe.end
    module.processing_kwargs = {
        "text": {"truncation": False, "padding_side": "right"},
        "chat_template": {"add_generation_prompt": recipe.reply},
    }
    size = module.processor.image_processor.size
    if size.shortest_edge and size.longest_edge:
        longest = max(min(size.longest_edge, recipe.max_pixels), size.shortest_edge)
        module.processing_kwargs["image"] = {"size": {"shortest_edge": size.shortest_edge, "longest_edge": longest}}


def open_sentence(checkpoint: Checkpoint, settings: Settings) -> SentenceModel:
    """A checkpoint that sentence-transformers wrote, by its own modules, and by its own prompts where no recipe says.

    Raises ModelError for models that read no pictures.
    """
    device, dtype = device_and_dtype(settings)
    with loading(checkpoint.name):
        model = SentenceTransformer(
            str(checkpoint.folder),
            device=device,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
            trust_remote_code=False,
            local_files_only=True,
        )
    if not model.supports("image"):
        raise ModelError(f"{checkpoint.name} reads text only; choose a model that reads pictures too.")
    name = model_name(checkpoint.name)
    if model.supports(("image", "text")):
        return JointModel(model, RECIPES.get(checkpoint.family, Recipe()), checkpoint, name, settings.batch_size)
    return TwoTowers(model, checkpoint, name, settings.batch_size)
