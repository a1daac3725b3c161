"""What shorter vectors cost, on development designs of the home-goods set.

    python benchmarks/dims.py [MODEL] [--dims 512 256 128 64]

The gallery holds all designs but those of the test split. Vectors are cut to their first numbers (Matryoshka), or
turned first so that the directions in which training products vary most come first (principal axes through the origin,
which keep cosines), and normalised anew. Prints a markdown table: R@1 of the design of a photo with its true box,
nDCG@10 of text queries by type, and bytes per product.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from fusion import embed_products, text_queries
from numpy.typing import NDArray

from app.encoder import Embedder, Vectors
from app.images import read_image
from app.moon import load_encoder
from app.schema import Query
from app.settings import ROOT, Settings, read_settings
from trainer.data.home import HomeProduct, HomeSet
from trainer.evaluation.gallery import batches
from trainer.evaluation.metrics import ndcg, rank, recall

PHOTO = "photo"
KINDS = {"en name": "English name", "kind in words": "words for a kind", "colour + words": "colour + words"}
OTHER = "name in another language"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=Settings().model, metavar="MODEL", help="checkpoint")
    parser.add_argument("--dims", nargs="+", type=int, default=(512, 256, 128, 64))
    given = parser.parse_args()
    home, settings = HomeSet(ROOT / "demo"), read_settings(model=given.model)
    products = [product for product in home.products if product.split != "test"]
    encoder = load_encoder(settings)
    vectors = np.concatenate([embed_products(encoder, part, settings) for part in batches(products, 8)])
    asked = [*_photos(home, products, encoder, settings), *_texts(home, products, encoder)]
    queries = np.stack([vector for _, vector, _ in asked])
    kinds, relevant = np.array([kind for kind, *_ in asked]), [wanted for *_, wanted in asked]
    learned = vectors[[row for row, item in enumerate(products) if item.split == "train"]]
    axes = np.linalg.svd(learned, full_matrices=True)[2].T
    columns = (PHOTO, *KINDS.values(), OTHER)
    print(f"| numbers | {' | '.join(columns)} | bytes |\n| --- |{' ---: |' * (len(columns) + 1)}")
    for dims, name, turned in _ways(vectors.shape[1], given.dims, axes):
        similarity = _cut(queries, turned, dims) @ _cut(vectors, turned, dims).T
        ranking = rank(similarity)
        scores = np.where(kinds == PHOTO, recall(ranking, relevant, 1), ndcg(ranking, relevant))
        cells = [f"{scores[kinds == column].mean():.3f}" for column in columns]
        print(f"| {name} | {' | '.join(cells)} | {4 * dims:,} |")
    print(f"\nQueries: {', '.join(f'{column} {np.sum(kinds == column)}' for column in columns)}.")


def _ways(width: int, dims: list[int], axes: Vectors) -> Iterator[tuple[int, str, Vectors]]:
    plain = np.eye(width, dtype=np.float32)
    yield width, f"{width}, all", plain
    for cut in dims:
        yield cut, f"{cut}, the first", plain
        yield cut, f"{cut}, principal axes", axes


def _cut(vectors: Vectors, turned: Vectors, dims: int) -> Vectors:
    short = vectors @ turned[:, :dims]
    return short / np.linalg.norm(short, axis=1, keepdims=True)


def _photos(
    home: HomeSet, products: list[HomeProduct], encoder: Embedder, settings: Settings
) -> Iterator[tuple[str, NDArray[np.float32], frozenset[int]]]:
    limits = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
    photos = [photo for photo in home.photos if photo.split == "dev"]
    for part in batches(photos, 8):
        asked = [Query(image=read_image(str(home.root / photo.path), **limits)[1], box=photo.box) for photo in part]
        for photo, vector in zip(part, encoder.embed_queries(asked)[0], strict=True):
            same = (row for row, item in enumerate(products) if item.product.group_id == photo.group_id)
            yield PHOTO, vector, frozenset(same)


def _texts(
    home: HomeSet, products: list[HomeProduct], encoder: Embedder
) -> Iterator[tuple[str, NDArray[np.float32], frozenset[int]]]:
    asked = sorted(set(text_queries(home, products, "dev")), key=lambda query: query[:2])
    for part in batches(asked, 32):
        vectors, _ = encoder.embed_queries([Query(text) for _, text, _ in part])
        for (kind, _, wanted), vector in zip(part, vectors, strict=True):
            if column := KINDS.get(kind, OTHER if kind.endswith(" name") else None):
                yield column, vector, wanted


if __name__ == "__main__":
    main()
