"""Recall on the development split, by which the best checkpoint is chosen; the test split is never touched."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator
from torch import Tensor

from app.errors import BadInputError
from app.moon.prompt import MAX_TITLE_CHARS, attribute_text, category_text, query_text
from app.moon.segments import mark
from trainer.data.corpus import Corpus, StoredRecord
from trainer.data.record import MODALITIES, Item, Modality
from trainer.data.views import View
from trainer.training.batches import Encoding, encode_inputs
from trainer.training.triplets import FindBox, Input

QUERIES = 300
"""Queries per modality."""
DISTRACTORS = 1000
"""Items of training records in the gallery, beside all right answers."""
CUTOFFS = (1, 10)
PICTURES = 2


class DevRecall(BaseEvaluator):
    """R@1 and R@10 of image, text and mixed queries of development records, ``QUERIES`` of each, without label texts.

    The gallery is their positives and a fixed sample of training items, with all fields. Right is what shares a key
    with the query: the product, a SKU of its model, the same title, another purchase for the query, its meaning. A
    query or product is left out if one of its pictures, or of the query's positive's, cannot be read; ``unreadable``
    counts them, ``products`` is the size of the gallery.
    """

    def __init__(
        self,
        corpus: Corpus,
        dev: NDArray[np.int64],
        train_items: NDArray[np.int64],
        encoding: Encoding,
        find_box: FindBox,
        seed: int,
        batch_size: int,
    ) -> None:
        super().__init__()
        self._encoding, self._batch_size = encoding, batch_size
        rng = random.Random(seed)  # noqa: S311
        self._gallery: list[Input] = []
        self._keys: list[set[int]] = []
        self.unreadable = 0
        sampled = [query for modality in MODALITIES for query in self._sample(corpus, dev, modality, find_box, seed)]
        others = rng.sample(range(len(train_items)), min(DISTRACTORS, len(train_items)))
        shown = set()
        for row in sorted({positive for *_, positive in sampled} | {int(train_items[place]) for place in others}):
            item = corpus.item(row)
            document = _document(item, find_box)
            if self._readable(document):
                shown.add(row)
                self._gallery.append(document)
                self._keys.append(set(corpus.item_document_keys(row, item)) - {0})
        self._queries = [(modality, query, keys) for modality, query, keys, positive in sampled if positive in shown]
        self.metric = "image_r1" if any(kind == "image" for kind, *_ in self._queries) else "text_r1"

    def __len__(self) -> int:
        """Number of queries."""
        return len(self._queries)

    @property
    def products(self) -> int:
        return len(self._gallery)

    def __call__(  # type: ignore[override]
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """``image_r1``, ``image_r10``, ``text_r1`` ... for the modalities that there are queries of.

        Raises FloatingPointError for vectors that are no numbers.
        """
        training = model.training
        model.eval()
        gallery = self._embed(model, self._gallery)
        queries = self._embed(model, [query for _, query, _ in self._queries])
        model.train(training)
        if not (gallery.isfinite().all() and queries.isfinite().all()):
            raise FloatingPointError(
                f"the vectors are no numbers after step {steps}; lower the learning rate or take --precision fp32, in "
                "another folder"
            )
        depth = min(CUTOFFS[-1], len(self._gallery))
        found = (queries @ gallery.T).topk(depth, dim=1).indices.tolist()
        ranks = [
            next((rank for rank, row in enumerate(best) if self._keys[row] & wanted), CUTOFFS[-1])
            for best, (_, _, wanted) in zip(found, self._queries, strict=True)
        ]
        recalls: dict[str, float] = {}
        for modality in MODALITIES:
            own = [rank for rank, (kind, *_) in zip(ranks, self._queries, strict=True) if kind == modality]
            if own:
                recalls |= {f"{modality}_r{k}": sum(rank < k for rank in own) / len(own) for k in CUTOFFS}
        return recalls

    @torch.inference_mode()
    def _embed(self, model: Any, inputs: Sequence[Input]) -> Tensor:
        """Unit vectors in the order of the inputs, like lengths together to save padding."""
        order = sorted(range(len(inputs)), key=lambda i: (len(inputs[i].views), len(inputs[i].text)))
        vectors = []
        for start in range(0, len(order), self._batch_size):
            features = encode_inputs(self._encoding, [inputs[i] for i in order[start : start + self._batch_size]])
            moved = {
                name: value.to(model.device) if isinstance(value, Tensor) else value for name, value in features.items()
            }
            vectors.append(model(moved)["sentence_embedding"].float().cpu())
        return torch.cat(vectors)[torch.tensor(order).argsort()]

    def _sample(
        self, corpus: Corpus, dev: NDArray[np.int64], modality: Modality, find_box: FindBox, seed: int
    ) -> Iterator[tuple[Modality, Input, set[int], int]]:
        """Queries that can be read with their keys and the rows of their positives, ``QUERIES`` at most.

        Drawn by weight, as training draws them, so that a product with many names counts no more than another.
        """
        weights = corpus.columns["weight"][dev]
        rows = dev[(corpus.columns["modalities"][dev] >> MODALITIES.index(modality) & 1 == 1) & (weights > 0)]
        turns = np.random.default_rng(seed).exponential(size=len(rows)) / corpus.columns["weight"][rows]
        found = 0
        for row in rows[np.argsort(turns)]:
            record = corpus.record(int(row))
            query = _query(record, modality, find_box)
            if record.segment == "title" and self._readable(query):
                yield modality, query, set(corpus.query_keys(record)) - {0}, record.positive
                found += 1
            if found == QUERIES:
                return

    def _readable(self, item: Input) -> bool:
        try:
            self._encoding.fetch(item.views)
        except BadInputError:
            self.unreadable += 1
            return False
        return bool(item.views or item.text)


def _query(record: StoredRecord, modality: Modality, find_box: FindBox) -> Input:
    text = ""
    if modality != "image":
        text = query_text(record.text)
    if modality == "text" or record.picture is None:
        return Input(text=text)
    box = find_box(record.picture, record.text)
    whole = (View(record.picture.location), False)
    return Input((whole, (View(record.picture.location, box, "core"), False)) if box else (whole,), text)


def _document(item: Item, find_box: FindBox) -> Input:
    views: list[tuple[View, bool]] = []
    for picture in item.pictures[:PICTURES]:
        views.append((View(picture.location), False))
        if (box := find_box(picture, item.title)) is not None:
            views.append((View(picture.location, box, "core"), False))
    return Input(
        tuple(views),
        mark("title", item.title[:MAX_TITLE_CHARS]) + category_text(item.category) + attribute_text(item.attributes),
    )
