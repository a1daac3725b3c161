"""Asking an image-text model about a picture: what core product detection and the trainer's augmentation share."""

from __future__ import annotations

from typing import Any

import torch
from PIL.Image import Image

from app.errors import ModelError


def load_chat_model(name: str, device: str, role: str) -> tuple[Any, Any]:
    """A model that writes text, on ``device``, and its processor, from a folder or the Hub; no code of the checkpoint.

    ``role`` names it in errors. Raises ModelError if it cannot be loaded.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        model: Any = AutoModelForImageTextToText.from_pretrained(name, dtype="auto", use_safetensors=True)
        processor = AutoProcessor.from_pretrained(name)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{name}: the {role} cannot be loaded ({error}).") from error
    return model.to(device).eval(), processor


@torch.inference_mode()
def ask(model: Any, processor: Any, image: Image | None, words: str, max_new_tokens: int) -> tuple[str, Any]:
    """The likeliest answer to ``words`` about a picture, and the batch that was asked."""
    content: list[dict[str, Any]] = [] if image is None else [{"type": "image", "image": image}]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": words}]}]
    batch = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    ).to(model.device)
    written = model.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False)
    answer = processor.batch_decode(written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)[0]
    return answer, batch
