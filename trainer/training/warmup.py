"""Warm-up of the skip path alone, as a bag of word and picture embeddings; a hundred times cheaper than the LLM.

With the gate closed, mean pooling makes MOON's output linear in its tokens: words can be summed before the skip
matrix, and a picture's visual tokens before the projector, as long as that is kept in its linear range (our decision).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.moon.transformer import MoonTransformer
from trainer.data.home import HomeSet
from trainer.data.views import TowerMaps, View
from trainer.training.collate import Collator
from trainer.training.examples import Input


class BagOfEmbeddings(nn.Module):
    """Embeds inputs as the model would with its gate closed."""

    def __init__(self, module: MoonTransformer, home: HomeSet, maps: TowerMaps) -> None:
        super().__init__()
        self.module = module
        views = [View(path) for p in home.products if p.split == "train" for path in p.product.images]
        _align_projector(module, maps[views].mean(dim=(2, 3)))

    def forward(self, inputs: Sequence[Input], collate: Collator) -> Tensor:
        """Unit vectors, shape (inputs, width)."""
        model, batch = self.module.model, collate(inputs)
        ids, weights = batch["input_ids"], self.module.token_weights(batch).unsqueeze(-1)
        visual = (ids == self.module.markers.image).unsqueeze(-1)
        total = (model.get_input_embeddings()(ids) * weights * ~visual).sum(dim=1)
        if "pixel_values" in batch:
            pictures = model.multi_modal_projector(batch["pixel_values"].mean(dim=(2, 3)))
            owners = torch.tensor([row for row, item in enumerate(inputs) for _ in item.views])
            per_picture = (weights * visual).sum(dim=1) / owners.bincount(minlength=len(inputs)).clamp(min=1).unsqueeze(
                1
            )
            total = total.index_add(0, owners, pictures * per_picture[owners])
        return functional.normalize(model.moon_skip.linear(total), dim=1)


@torch.no_grad()
def _align_projector(module: MoonTransformer, tokens: Tensor) -> None:
    """Start the projector so that visual tokens keep the tower's geometry: centred principal components.

    The first layer is small enough that its GELU is nearly linear, and the second scales the tokens to the length of
    the word embeddings (our decision).
    """
    mean = tokens.mean(0)
    width, projector = module.get_embedding_dimension(), module.model.multi_modal_projector
    _, spread, components = torch.pca_lowrank(tokens - mean, q=width, center=False, niter=4)
    small = 0.05 / (spread[0] / len(tokens) ** 0.5)
    projector.linear_1.weight.copy_(components.T * small)
    projector.linear_1.bias.copy_(-small * components.T @ mean)
    typical = ((tokens - mean) @ components * small / 2).norm(dim=1).mean()
    words = module.model.get_input_embeddings().weight.norm(dim=1).mean()
    projector.linear_2.weight.copy_(torch.eye(width) * words / typical)
    projector.linear_2.bias.zero_()


@torch.no_grad()
def standardise_llm(module: MoonTransformer, batches: Iterable[dict[str, Any]]) -> None:
    """Measure the LLM output's mean and deviation per channel over content tokens, before its gate opens."""
    outputs: list[Tensor] = []
    model, skip = module.model, module.model.moon_skip
    watch = skip.register_forward_pre_hook(lambda _, arguments: outputs.append(arguments[1]))
    for batch in batches:
        content = module.markers.content(batch["input_ids"], batch["attention_mask"]).bool()
        module(batch)
        outputs[-1] = outputs[-1][content]
    watch.remove()
    tokens = torch.cat(outputs)
    model.moon_skip.centre.copy_(tokens.mean(dim=0))
    model.moon_skip.spread.copy_(tokens.std(dim=0).clamp(min=1e-3))
