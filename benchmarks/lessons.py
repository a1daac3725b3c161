"""What a teacher of meanings brings to the starter's words, on development designs.

    python benchmarks/lessons.py weights runs/words

WEIGHTS is the folder with the packages of `trainer starter`, WORDS what `trainer words` wrote: texts in several
languages, each with the teacher's vector of its English equivalent. Nothing sees a picture. Prints a markdown table:
nDCG@10 of text queries by type among the texts of all SKUs but those of the test split. Beside the teacher's vectors
(all-MiniLM-L6-v2), to which texts are brought by a contrast and by distance, stand the contrast alone, random vectors
in the teacher's place, by which a text learns what it is called elsewhere but not what is alike, and no lessons at all:
SmolLM2's token embeddings, averaged to the pieces of the vocabulary.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from vocabulary import COLUMNS, found, texts_of

from app.moon.transformer import MoonTransformer
from app.settings import ROOT
from trainer.checkpoints.starter import untaught, vocabulary
from trainer.data.home import HomeSet
from trainer.words import teach
from trainer.words.build import PAIRS, TOKENIZER, VECTORS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS")
    parser.add_argument("words", type=Path, metavar="WORDS")
    parser.add_argument("--steps", type=int, default=teach.STEPS, help="of the lessons")
    given = parser.parse_args()
    products, asked = texts_of(HomeSet(ROOT / "demo"))
    tokenizer = vocabulary(Tokenizer.from_file(str(given.words / TOKENIZER)))
    kinds = np.array([column for column, *_ in asked])
    print(f"| lessons | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}")
    for about, lesson in LESSONS.items():
        module = untaught(given.weights, tokenizer)
        lesson(module, given.words, given.steps)
        scores = found(module, products, asked)
        cells = [f"{scores[kinds == column].mean():.3f}" for column in COLUMNS]
        print(f"| {about} | {' | '.join(cells)} |", flush=True)


def _none(module: MoonTransformer, words: Path, steps: int) -> None:
    pass


def _random(module: MoonTransformer, words: Path, steps: int) -> None:
    with _without_teacher(words) as folder:
        teach.teach_words(module, folder, steps=steps)


def _contrast(module: MoonTransformer, words: Path, steps: int) -> None:
    with patch.object(teach, "LIKENESS", 0.0):
        teach.teach_words(module, words, steps=steps)


def _teacher(module: MoonTransformer, words: Path, steps: int) -> None:
    teach.teach_words(module, words, steps=steps)


LESSONS = {
    "none": _none,
    "random vectors instead of the teacher's": _random,
    "the teacher's, contrast alone": _contrast,
    "the teacher's, contrast and distance (the starter's)": _teacher,
}


@contextmanager
def _without_teacher(words: Path) -> Iterator[Path]:
    """A copy of the lessons whose vectors are random, one for each of the teacher's."""
    vectors = load_file(words / VECTORS)["vectors"]
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(words / PAIRS, folder / PAIRS)
        save_file({"vectors": torch.randn(vectors.shape, generator=generator)}, folder / VECTORS)
        yield folder


if __name__ == "__main__":
    main()
