"""The model of a run: loaded or upcycled, with LoRA or without, and which of its parameters are trained."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from app.errors import ModelError
from app.moon.config import MoonConfig
from app.moon.experts import GuidedExperts
from app.moon.load import load_module, save_moon
from app.moon.segments import MARKERS
from app.moon.transformer import MoonTransformer

logger = logging.getLogger(__name__)

LORA_TARGETS = (
    r".*(language_model|text_model)\.layers\.\d+\."
    r"(self_attn\.[qkvo]_proj|mlp\.(shared\.)?(gate|up|down)_proj)"
)
"""Attention and FFN of the decoder (our decision); low-rank experts stand beside the updates of their shared FFN."""
MOON_PARTS = (
    r"\.(mlp\.(router|gate\.[ab]|up\.[ab]|down\.[ab]|experts)\b|moon_skip\.(linear|gate|pictures)|moon_segment_weights)"
)
"""Parameters that MOON adds; they are trained in full also beside LoRA."""
TOWERS = r"(^|\.)(vision_tower|visual|vision_model)\.(?!(deepstack_)?merger)"
"""Vision towers; Qwen keeps its projector inside."""
APART = r"\.(moon_skip\.(pictures\.)?(centre|spread)|moon_box_head)\b"
"""What the contrastive loss does not train: it is measured, or trained by itself."""


def open_trainable(name: str, moon: MoonConfig, dtype: torch.dtype, attention: str | None = None) -> MoonTransformer:
    """A MOON checkpoint as it is, or any Hugging Face image-text model upcycled with ``moon``; weights in ``dtype``.

    Raises ModelError for what is neither.
    """
    kwargs: dict[str, Any] = {"dtype": dtype}
    if attention is not None:
        kwargs["attn_implementation"] = attention
    if getattr(_config(name), "moon", None) is not None:
        return load_module(name, dtype).train()
    logger.info("%s is upcycled: %s", name, moon)
    try:
        return MoonTransformer.upcycled(name, moon, model_kwargs=kwargs).train()
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} cannot be upcycled: {error}") from error


def bare(module: MoonTransformer) -> Any:
    """The model itself, inside LoRA's wrapper if it has one: whose parts are exchanged here."""
    return module.model.get_base_model() if isinstance(module.model, PeftModel) else module.model


def unguide(module: MoonTransformer) -> None:
    """Have all experts free for all tokens from now on, also in the checkpoint that is written."""
    module.moon = replace(module.moon, guided=False)
    module.model.config.moon = module.moon.to_dict()
    for experts in module.model.modules():
        if isinstance(experts, GuidedExperts):
            experts.config = module.moon


def add_lora(module: MoonTransformer, rank: int) -> None:
    """Put LoRA updates on the decoder's attention and FFNs and make the segment tokens' embeddings trainable.

    Everything else is frozen, except what MOON adds.
    """
    tokens = module.words.convert_tokens_to_ids(MARKERS)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=LORA_TARGETS,
        trainable_token_indices={"embed_tokens": tokens},
    )
    module.model = get_peft_model(module.model, config)
    for name, parameter in module.model.named_parameters():
        if re.search(MOON_PARTS, f".{name}") or "lora_" in name:
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()


def freeze(module: MoonTransformer, patterns: Sequence[str], *, tower: bool) -> None:
    """Freeze parameters whose name fits a pattern or stands ``APART``; freeze or train the tower, also beside LoRA."""
    for name, parameter in module.model.named_parameters():
        if any(re.search(pattern, f".{name}") for pattern in (APART, *patterns)):
            parameter.requires_grad_(False)
        elif re.search(TOWERS, name):
            parameter.requires_grad_(tower)
            if tower:
                parameter.data = parameter.data.float()


def keep_frozen_towers_still(module: nn.Module) -> None:
    """Hold vision towers without a trainable parameter in evaluation mode, whatever mode the model is put into.

    Their BatchNorm statistics would drift otherwise.
    """
    for name, child in module.named_modules():
        is_tower = re.search(TOWERS, f"{name}.") and not re.search(TOWERS, name)
        if is_tower and not any(parameter.requires_grad for parameter in child.parameters()):
            child.eval()
            child.train = MethodType(lambda self, mode=True: self, child)


def checkpoint_activations(module: MoonTransformer) -> None:
    """Gradient checkpointing: layers are computed again in the backward pass instead of keeping what is inside them."""
    model = module.model
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def merged(module: MoonTransformer) -> MoonTransformer:
    """``module`` with LoRA updates added to the weights that they update; without LoRA as it is."""
    if isinstance(module.model, PeftModel):
        module.model = module.model.merge_and_unload()
    return module


def save_trained(module: MoonTransformer, out: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a checkpoint that indexer, search and evaluation read; its weights are merged and converted in place."""
    save_moon(merged(module).to(dtype).eval(), out)


def model_size(name: str) -> tuple[int, int]:
    """Number of parameters, MOON's own left out, and width of the embedding, without loading weights.

    Raises ModelError if there is no model of that name.
    """
    config = _config(name)
    try:
        with torch.device("meta"):
            model = AutoModel.from_config(config)
    except ValueError as error:
        raise _unreadable(name, error) from error
    return sum(parameter.numel() for parameter in model.parameters()), config.get_text_config().hidden_size


def parameter_counts(module: MoonTransformer) -> tuple[int, int]:
    """Trainable and all parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def _config(name: str) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())
    return ModelError(f"{name}: no model can be read there ({reason}); name a folder or a Hub id.")
