"""Write everything that the starter's text side is assembled and taught with into one folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors.torch import save_file

from trainer.words.pairs import PACKAGES, build_pairs
from trainer.words.teacher import TEACHER, teacher_vectors
from trainer.words.vocabulary import train_tokenizer

logger = logging.getLogger(__name__)

PAIRS, VECTORS, TOKENIZER, SOURCES = "pairs.parquet", "teacher.safetensors", "tokenizer.json", "sources.json"


def build_words(sources: Path, out: Path, data: Path, pieces: int, splits: Collection[str] = ("train",)) -> None:
    """Write ``pairs.parquet``, ``tokenizer.json``, ``teacher.safetensors`` and ``sources.json`` to ``out``.

    ``teacher.safetensors`` holds ``vectors`` (English texts, 384) in float16; column ``row`` of the pairs points into
    it. Raises ModelError with the download command of a package that is missing in ``sources``.
    """
    used = {package.name: package.source(sources) for package in (*PACKAGES, TEACHER)}
    pairs = build_pairs(sources, data, splits)
    out.mkdir(parents=True, exist_ok=True)
    pairs.write_parquet(out / PAIRS)
    tokenizer = train_tokenizer(pairs, pieces)
    tokenizer.save(str(out / TOKENIZER))
    logger.info("%s: %d pieces", TOKENIZER, tokenizer.get_vocab_size())
    (out / SOURCES).write_text(json.dumps(used, indent=2) + "\n")
    english = pairs.unique("row", keep="first").sort("row")["english"].to_list()
    save_file({"vectors": torch.from_numpy(teacher_vectors(sources, english))}, out / VECTORS)
