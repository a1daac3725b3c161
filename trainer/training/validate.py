"""Recall on the development split during training, from cached feature maps. The test split is never touched."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from app.moon.prompt import product_text, query_text
from trainer.data.home import HomeSet
from trainer.data.views import View
from trainer.training.examples import Input

Encode = Callable[[Sequence[Input]], Tensor]


class Validation:
    """Photos and names of dev products against dev products and a fixed sample of training products."""

    def __init__(self, home: HomeSet, distractors: int = 400) -> None:
        dev = [p for p in home.products if p.split == "dev"]
        train = [p for p in home.products if p.split == "train"]
        self.gallery = dev + random.Random(0).sample(train, min(distractors, len(train)))  # noqa: S311
        self.documents = [
            Input(tuple((View(path), False) for path in p.product.images[:2]), product_text(p.product))
            for p in self.gallery
        ]
        self.photos = [p for p in home.photos if p.split == "dev" and not p.shows_test_model]
        self.names = sorted({dict(p.names)["en"] for p in dev})

    @torch.inference_mode()
    def __call__(self, encode: Encode) -> dict[str, float]:
        """Photo (whole; with true crop) to same model R@1, and English name to a product of that name R@10.

        A product has the name if its own name holds all of its words.
        """
        gallery = encode(self.documents)
        groups = [p.product.group_id for p in self.gallery]
        whole = encode([Input(((p.whole, False),)) for p in self.photos])
        boxed = encode([Input(((p.whole, False), (p.boxed, False))) for p in self.photos])
        named = encode([Input(text=query_text(name)) for name in self.names])
        owners = [set(dict(p.names)["en"].lower().split()) for p in self.gallery]
        same_model = [[photo.group_id == group for group in groups] for photo in self.photos]
        same_name = [[set(name.lower().split()) <= owner for owner in owners] for name in self.names]
        return {
            "photo_r1": _recall(whole @ gallery.T, same_model, 1),
            "photo_box_r1": _recall(boxed @ gallery.T, same_model, 1),
            "name_r10": _recall(named @ gallery.T, same_name, 10),
        }


def in_length_order(encode: Encode, inputs: Sequence[Input], batch_size: int) -> Tensor:
    """Encode inputs of like length together, which saves padding; vectors in the inputs' order, (inputs, width)."""
    order = sorted(range(len(inputs)), key=lambda i: (len(inputs[i].views), len(inputs[i].text)))
    rows = [
        encode([inputs[i] for i in order[start : start + batch_size]]) for start in range(0, len(order), batch_size)
    ]
    return torch.cat(rows)[torch.tensor(order).argsort()]


def _recall(similarities: Tensor, relevant: Sequence[Sequence[bool]], k: int) -> float:
    found = torch.tensor(relevant).gather(1, similarities.topk(k, dim=1).indices).any(dim=1)
    return found.float().mean().item()
