"""Baselines as sentence-transformers models: loaded without running code of theirs, and asked for unit vectors."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from app.errors import ModelError
from app.moon.device import choose_device, choose_dtype
from app.moon.segments import reserved_tokens, without
from app.settings import Settings
from trainer.evaluation.models.base import Content, Segment, Vectors
from trainer.evaluation.models.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

MAX_TEXT_CHARS = 2000
"""Longer texts are cut (our decision); models with fewer positions cut at their own length."""

NO_CODE = {"trust_remote_code": False, "local_files_only": True}


class StrictTransformer(Transformer):
    """As the base class, but from safetensors alone, and never with random weights in the place of missing ones."""

    model: Any
    processor: Any

    def _load_model(
        self,
        model_name_or_path: str,
        transformer_task: Any,
        config: PretrainedConfig,
        backend: str,
        is_peft_model: bool,
        **model_kwargs: Any,
    ) -> PreTrainedModel:
        model, loading = AutoModel.from_pretrained(
            model_name_or_path, config=config, output_loading_info=True, use_safetensors=True, **model_kwargs
        )
        if missing := sorted(loading["missing_keys"]):
            raise ModelError(
                f"{model_name_or_path}: {len(missing)} weights are missing ({', '.join(missing[:3])}, ...); "
                "the checkpoint is damaged; download it again."
            )
        return model


class SentenceModel(ABC):
    """What the baselines share: one sentence-transformers model, batches, cleaned text, unit rows."""

    def __init__(self, model: SentenceTransformer, checkpoint: Checkpoint, name: str, batch_size: int) -> None:
        self.name = name
        self.family = checkpoint.family
        self._model = model.eval()
        dimensions = model.get_embedding_dimension()
        if dimensions is None:
            raise ModelError(f"{name} does not say how long its vectors are; choose another model.")
        self.dimensions: int = dimensions
        self._batch_size = batch_size
        self._reserved = reserved_tokens(model.tokenizer)

    @abstractmethod
    def embed(self, contents: Sequence[Content], *, is_query: bool) -> Vectors:
        """See :class:`trainer.evaluation.models.base.EmbeddingModel`."""

    def embed_labels(self, labels: Sequence[str], segment: Segment) -> Vectors:
        """Labels as the text of products: baselines know no segments."""
        return self.embed([Content(title=label) for label in labels], is_query=False)

    def _text(self, content: Content) -> str:
        """Text that cannot turn into a special token, such as a picture's placeholder."""
        return without(self._reserved, content.text)[:MAX_TEXT_CHARS].strip()

    def _encode(self, inputs: list[dict[str, Any]], prompt: str | None = None, *, is_query: bool = False) -> Vectors:
        """Inputs are always dicts: sentence-transformers would fetch a bare string that looks like an address."""
        if not inputs:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        encode = self._model.encode_query if is_query else self._model.encode_document
        return unit(encode(inputs, prompt=prompt, batch_size=self._batch_size, show_progress_bar=False))


def unit(rows: Any) -> Vectors:
    """Rows (n, d) at unit length in single precision; bfloat16 alone is not exact enough."""
    vectors = np.asarray(rows, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def load_transformer(checkpoint: Checkpoint, settings: Settings) -> StrictTransformer:
    """Model and processor on the configured device, in bfloat16 on GPUs. Raises ModelError if they do not load."""
    device, dtype = device_and_dtype(settings)
    with loading(checkpoint.name):
        return StrictTransformer(
            str(checkpoint.folder),
            model_kwargs={"dtype": dtype, **NO_CODE},
            processor_kwargs=dict(NO_CODE),
            config_kwargs=dict(NO_CODE),
        ).to(device)


def device_and_dtype(settings: Settings) -> tuple[str, torch.dtype]:
    """Where and how precisely a baseline computes, by the rules that hold for MOON."""
    device, why = choose_device(settings.device)
    dtype, reason = choose_dtype(device)
    logger.info("%s, %s: %s; %s", device, str(dtype).removeprefix("torch."), why, reason)
    return device, dtype


@contextmanager
def loading(name: str) -> Iterator[None]:
    """No bars and no lists of unused weights; what the libraries raise for what they cannot load becomes ModelError."""
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, AssertionError, SafetensorError) as error:
        raise ModelError(f"{name}: the model cannot be loaded ({error}).") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
