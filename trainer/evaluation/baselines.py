"""What MOON is measured against: raw vision, BM25, a vote of neighbours, and a box in the middle of every photo."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from app.moon.transformer import MoonTransformer
from app.schema import Box, Product
from trainer.evaluation.metrics import DEPTH, Rankings, rank

WORDS = r"(?u)\w+"
NEIGHBOURS = 10
"""How many neighbours vote (our decision, made before anything was measured): as deep as rankings are judged."""
PICTURES = 4
"""Pictures per call of the tower: more cost a CPU more time for fresh memory than they save."""


class RawVision:
    """The checkpoint's vision tower alone: its pooled output of unit length, as it was before any projector.

    ``nearest`` ranks products by their most similar picture.
    """

    def __init__(self, module: MoonTransformer) -> None:
        self._tower: Any = module.model.vision_tower
        self._processor = module.processor.image_processor

    @torch.inference_mode()
    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Unit vectors, shape (images, channels)."""
        rows = []
        for start in range(0, len(images), PICTURES):
            pixels = self._processor(list(images[start : start + PICTURES]), return_tensors="pt")["pixel_values"]
            pooled = self._tower(pixels.to(self._tower.device)).pooler_output.float()
            rows.append(torch.nn.functional.normalize(pooled, dim=1).cpu().numpy())
        return np.concatenate(rows)

    @staticmethod
    def nearest(queries: NDArray[np.float32], pictures: NDArray[np.float32], owners: Sequence[int]) -> Rankings:
        """Products by their best picture: queries (q, d), pictures (p, d), and each picture's product, ascending."""
        products, starts = np.unique(owners, return_index=True)
        return products[rank(np.maximum.reduceat(queries @ pictures.T, starts, axis=1))]


class BM25:
    """Lexical search over title, category and attributes: runs of word characters, lower-cased, all of them kept.

    No stemming and no stop words; k1 and b are bm25s's defaults. With ``all_languages`` the products' titles in other
    languages are searched as well; the language of a query is not known.
    """

    def __init__(self, products: Sequence[Product], all_languages: bool = False) -> None:
        import bm25s

        self._tokenize = bm25s.tokenize
        self._index = bm25s.BM25()
        documents = [_document(product, all_languages) for product in products]
        self._index.index(self._words(documents), show_progress=False)

    def rank(self, texts: Sequence[str], depth: int = DEPTH) -> Rankings:
        """The best products per text, shape (texts, depth); -1 in the place of products without a common word."""
        rows = np.full((len(texts), depth), -1, dtype=np.int64)
        for row, words in enumerate(self._words(texts)):
            if words:
                scores = self._index.get_scores(words)
                best = rank(scores[None], depth)[0]
                rows[row, : len(best)] = np.where(scores[best] > 0, best, -1)
        return rows

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        return self._tokenize(list(texts), token_pattern=WORDS, stopwords=None, return_ids=False, show_progress=False)


def _document(product: Product, all_languages: bool) -> str:
    values = [value for key in sorted(product.attributes) for value in product.attributes[key]]
    others = [product.titles[key] for key in sorted(product.titles)] if all_languages else []
    return " ".join([product.title, *product.category, *values, *others])


def neighbour_vote(similarities: NDArray[np.floating], labels: Sequence[str]) -> list[str]:
    """The label with the largest sum of similarities among each query's ``NEIGHBOURS`` nearest products.

    ``similarities`` (queries, products), ``labels`` of the products; of equal sums the label of the nearest wins.
    """
    winners = []
    for row, places in zip(similarities, rank(similarities, NEIGHBOURS), strict=True):
        votes: dict[str, float] = defaultdict(float)
        for place in places:
            votes[labels[place]] += float(row[place])
        winners.append(max(votes, key=votes.__getitem__))
    return winners


def centre_box(boxes: Sequence[Box], width: float, height: float) -> Box:
    """A box in the middle of a ``width`` x ``height`` picture, of the mean size of ``boxes``."""
    half_width = sum(x1 - x0 for x0, _, x1, _ in boxes) / len(boxes) / 2
    half_height = sum(y1 - y0 for _, y0, _, y1 in boxes) / len(boxes) / 2
    return width / 2 - half_width, height / 2 - half_height, width / 2 + half_width, height / 2 + half_height
