"""How many pieces the starter's vocabulary should have: what the taught words find, on development designs.

    python benchmarks/vocabulary.py weights runs/words [--pieces 5000 10000 19000 38000]

WEIGHTS is the folder with the packages of `trainer starter`, WORDS what `trainer words` wrote. For each size a
tokenizer is trained on the same texts and its embeddings are taught the same lessons; nothing sees a picture. Prints a
markdown table: tokens per query, nDCG@10 of text queries by type among the texts of all SKUs but those of the test
split, and the size of the embeddings in bfloat16.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from dims import KINDS, OTHER
from fusion import text_queries

from app.moon import load_encoder
from app.moon.load import save_moon
from app.moon.transformer import MoonTransformer
from app.schema import Query
from app.settings import ROOT, read_settings
from trainer.checkpoints.starter import untaught, vocabulary
from trainer.data.home import HomeProduct, HomeSet
from trainer.evaluation.gallery import batches
from trainer.evaluation.metrics import ndcg, rank
from trainer.words.build import PAIRS
from trainer.words.teach import STEPS, teach_words
from trainer.words.vocabulary import train_tokenizer

COLUMNS = (*KINDS.values(), OTHER)
Asked = list[tuple[str, str, frozenset[int]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS")
    parser.add_argument("words", type=Path, metavar="WORDS")
    parser.add_argument("--pieces", nargs="+", type=int, default=(5000, 10_000, 19_000, 38_000))
    parser.add_argument("--steps", type=int, default=STEPS, help="of the lessons")
    given = parser.parse_args()
    products, asked = texts_of(HomeSet(ROOT / "demo"))
    pairs = pl.read_parquet(given.words / PAIRS)
    kinds = np.array([column for column, *_ in asked])
    print(f"| pieces | tokens per query | {' | '.join(COLUMNS)} | MB |\n| --- |{' ---: |' * (len(COLUMNS) + 2)}")
    for pieces in given.pieces:
        tokenizer = vocabulary(train_tokenizer(pairs, pieces))
        module = untaught(given.weights, tokenizer)
        teach_words(module, given.words, steps=given.steps)
        scores = found(module, products, asked)
        tokens = np.mean([len(tokenizer(text, add_special_tokens=False)["input_ids"]) for _, text, _ in asked])
        cells = [f"{scores[kinds == column].mean():.3f}" for column in COLUMNS]
        size = len(tokenizer) * 576 * 2 / 1e6
        print(f"| {len(tokenizer):,} | {tokens:.2f} | {' | '.join(cells)} | {size:.1f} |", flush=True)


def texts_of(home: HomeSet) -> tuple[list[HomeProduct], Asked]:
    """All SKUs but those of the test split, and the text queries of development designs: column, text, right rows."""
    products = [product for product in home.products if product.split != "test"]
    queries = sorted(set(text_queries(home, products, "dev")), key=lambda query: query[:2])
    columns = [KINDS.get(kind, OTHER if kind.endswith(" name") else None) for kind, *_ in queries]
    asked = [(column, *query[1:]) for column, query in zip(columns, queries, strict=True) if column]
    return products, asked


def found(module: MoonTransformer, products: Sequence[HomeProduct], asked: Asked) -> np.ndarray:
    """nDCG@10 of every query among the texts of the products."""
    with tempfile.TemporaryDirectory() as folder:
        save_moon(module, Path(folder))
        encoder = load_encoder(read_settings(model=folder))
        texts = [item.product for item in products]
        vectors = np.concatenate([encoder.embed_products(part, [[] for _ in part]) for part in batches(texts, 64)])
        queries = np.concatenate(
            [encoder.embed_queries([Query(text) for _, text, _ in part])[0] for part in batches(asked, 64)]
        )
    return ndcg(rank(queries @ vectors.T), [wanted for *_, wanted in asked])


if __name__ == "__main__":
    main()
