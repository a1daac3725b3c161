"""Ways to fuse MOON with BM25, on queries made of the development designs of the home-goods set.

    python benchmarks/fusion.py [--split dev]

The gallery holds all designs but those of the test split. Prints nDCG@10 by type of query, and the smallest lead over
the better of MOON and BM25 alone among the types. ``--split train`` asks with designs that the model was trained on.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.encoder import Embedder, Vectors
from app.fusion import fused
from app.images import read_image
from app.moon import load_encoder
from app.schema import Filters, Query
from app.settings import ROOT, Settings
from app.store.points import point_id
from trainer.data.home import HomeProduct, HomeSet
from trainer.data.home_corpus import colour_of
from trainer.evaluation.fused import FusedSearch
from trainer.evaluation.metrics import ndcg, rank

Scores = NDArray[np.float64]
LANGUAGES = ("en", "zh_CN", "fr", "de", "es", "ja", "ru")
TOP = 100
"""Products of each side that count for fusions by rank or by distribution."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("dev", "train"), default="dev")
    home, settings = HomeSet(ROOT / "demo"), Settings()
    products = [product for product in home.products if product.split != "test"]
    encoder = load_encoder(settings)
    queries = sorted(set(text_queries(home, products, parser.parse_args().split)), key=lambda query: query[:2])
    print(f"{settings.model}: {len(queries)} queries, {len(products)} products")
    vectors = np.concatenate(
        [embed_products(encoder, products[start : start + 8], settings) for start in range(0, len(products), 8)]
    )
    asked = np.concatenate([encoder.embed_queries([Query(text)])[0] for _, text, _ in queries])
    similarity, share = _both(products, vectors, [text for _, text, _ in queries], asked)
    types = np.array([kind for kind, _, _ in queries])
    relevant = [wanted for _, _, wanted in queries]
    results = {name: _by_type(types, fuse(similarity, share), relevant) for name, fuse in WAYS.items()}
    print(f"{'':16}" + "".join(f"{name:>12}" for name in results))
    for kind in dict.fromkeys(types):
        print(f"{kind:16}" + "".join(f"{own[kind]:12.3f}" for own in results.values()) + f"{sum(types == kind):6}")
    better = {kind: max(results["MOON"][kind], results["BM25"][kind]) for kind in types}
    leads = [min(own[kind] - better[kind] for kind in own) for own in results.values()]
    print(f"{'smallest lead':16}" + "".join(f"{lead:12.3f}" for lead in leads))
    print(f"{'mean of types':16}" + "".join(f"{np.mean(list(own.values())):12.3f}" for own in results.values()))


def _rrf(k: int) -> Callable[[Scores, Scores], Scores]:
    """Reciprocal rank fusion: the sum of 1 / (k + rank) over the lists that a product is in."""

    def fuse(similarity: Scores, share: Scores) -> Scores:
        return sum(np.where(_listed(own), 1 / (k + _ranks(own)), 0.0) for own in (similarity, share))

    return fuse


def _dbsf(similarity: Scores, share: Scores) -> Scores:
    """Distribution-based score fusion: the sum of both lists, scaled so that mean -3 and +3 deviations are 0 and 1."""
    total = np.zeros_like(similarity)
    for own in (similarity, share):
        listed = np.ma.masked_array(own, ~_listed(own))
        mean, deviation = listed.mean(1, keepdims=True), listed.std(1, keepdims=True)
        total += ((listed - mean) / (6 * np.maximum(deviation, 1e-9)) + 0.5).filled(0.0)
    return total


def _relative(weight: float) -> Callable[[Scores, Scores], Scores]:
    """Similarity plus BM25 as a part of the best product's."""
    return lambda similarity, share: similarity + weight * share / np.maximum(share.max(1, keepdims=True), 1e-9)


def _listed(scores: Scores) -> NDArray[np.bool_]:
    return (_ranks(scores) <= TOP) & (scores != 0)


def _ranks(scores: Scores) -> NDArray[np.int64]:
    return np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1) + 1


WAYS: dict[str, Callable[[Scores, Scores], Scores]] = {
    "MOON": lambda similarity, share: similarity,
    "BM25": lambda similarity, share: share,
    "RRF 60": _rrf(60),
    "RRF 2": _rrf(2),
    "DBSF": _dbsf,
    "+ 0.2 best": _relative(0.2),
    "+ 0.5 best": _relative(0.5),
    "+ share": lambda similarity, share: similarity + share,
    "share": lambda similarity, share: 1 - (1 - similarity) * (1 - share),
    "share^2": lambda similarity, share: 1 - (1 - similarity) * (1 - share**2),
    "share^3": lambda similarity, share: 1 - (1 - similarity) * (1 - share**3),
    "chosen": np.vectorize(fused),
}


def _both(products: list[HomeProduct], vectors: Scores, texts: list[str], asked: Scores) -> tuple[Scores, Scores]:
    """Similarity and share of words of every product for every query, shape (queries, products)."""
    rows = {point_id(item.product.id): row for row, item in enumerate(products)}
    found = np.zeros((2, len(texts), len(products)))
    with FusedSearch([item.product for item in products], vectors) as search:
        for query, (text, vector) in enumerate(zip(texts, asked, strict=True)):
            for candidate in search.index.candidates(vector, text, Filters(), len(products)):
                found[:, query, rows[candidate.point]] = candidate.similarity, candidate.share
    return found[0], found[1]


def _by_type(types: NDArray[np.str_], scores: Scores, relevant: list[Collection[int]]) -> dict[str, float]:
    values = ndcg(rank(scores), relevant)
    return {kind: float(values[types == kind].mean()) for kind in types}


def text_queries(home: HomeSet, products: list[HomeProduct], split: str) -> Iterator[tuple[str, str, frozenset[int]]]:
    """(type, text, rows of the right products): names, words for a kind, and both with a colour or a material."""
    right: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for row, item in enumerate(products):
        for meaning in _meanings(item):
            right[meaning].add(row)
    for item in products:
        if item.split != split:
            continue
        colour, names = colour_of(item), dict(item.names)
        for language in names.keys() & set(LANGUAGES):
            same = right[language, names[language].lower()] | right["en", names["en"].lower()]
            yield f"{language} name", names[language], frozenset(same)
        for kind in item.kinds:
            for phrase in home.kind_phrases.get(kind, []):
                yield "kind in words", phrase, frozenset(right["kind", kind])
                if colour:
                    yield "colour + words", f"{colour} {phrase}", frozenset(right["kind", kind, colour])
            for material in item.product.attributes.get("material", []):
                yield (
                    "material + kind",
                    f"{material} {kind}",
                    frozenset(right["kind", kind] & right["material", material]),
                )


def _meanings(item: HomeProduct) -> Iterator[tuple[str, ...]]:
    for language, name in item.names:
        yield language, name.lower()
    for kind in item.kinds:
        yield "kind", kind
        yield "kind", kind, colour_of(item)
    for material in item.product.attributes.get("material", []):
        yield "material", material


def embed_products(encoder: Embedder, products: Sequence[HomeProduct], settings: Settings) -> Vectors:
    limits = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
    images = [[read_image(str(ROOT / "demo" / path), **limits)[1] for path in p.product.images] for p in products]
    return encoder.embed_products([p.product for p in products], images)


if __name__ == "__main__":
    main()
