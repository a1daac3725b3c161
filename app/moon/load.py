"""Save and load MOON checkpoints as sentence-transformers models, without ever running code from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers.utils import logging as transformers_logging

from app.errors import ModelError
from app.moon import tower  # noqa: F401  (registers the starter's vision tower with transformers)
from app.moon.fingerprint import checkpoint_folder
from app.moon.transformer import MoonTransformer


def moon_model(module: MoonTransformer) -> SentenceTransformer:
    """The whole model: tokens, pooled and normalised."""
    pooling = "lasttoken" if module.moon.pooling == "last" else "mean"
    return SentenceTransformer(
        modules=[module, Pooling(module.get_embedding_dimension(), pooling_mode=pooling), Normalize()],
        device=str(module.model.device),
    )


WORDS = torch.float8_e4m3fn
"""What a small model's word embeddings are stored in (our decision): they are most of its bytes, and a cosine of 0.9995
with the embedding in single precision is close enough. Whoever loads them gets the model's own type."""


def save_moon(module: MoonTransformer, out: Path) -> None:
    """Write a checkpoint folder: configuration, processor, safetensors; 8-bit words where there is a skip path."""
    out.mkdir(parents=True, exist_ok=True)
    words = module.model.get_input_embeddings()
    exact = words.weight.data
    if module.moon.skip:
        words.weight.data = exact.to(WORDS)
    try:
        with _without_progress_bar():
            module.save(str(out))
    finally:
        words.weight.data = exact


def load_module(path: str, dtype: torch.dtype | None = None) -> MoonTransformer:
    """The token encoder of a checkpoint folder or Hub id, on the CPU. ``dtype=None`` keeps the checkpoint's own.

    Raises ModelError for a folder without weights, weights that do not fit their configuration, or a base model.
    """
    folder = checkpoint_folder(path)
    model_kwargs: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    try:
        with _without_progress_bar():
            module = MoonTransformer.load(str(folder), model_kwargs=model_kwargs)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(f"{path}: the model cannot be loaded ({error}).") from error
    return module.eval()


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """A local folder takes a second; a bar for it would stand in logs and inside the commands' own bars."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
