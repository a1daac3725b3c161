"""What a small LLM needs before it is trained: a projector that keeps the tower's geometry, the skip path
trained alone, and its own output measured (our decisions).

Pooled, the skip path is a bag of word and patch embeddings. It costs a fraction of the LLM, so it is trained first and
long; the LLM then learns through its gate what to add.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from app.moon.skip import PicturePath
from app.moon.transformer import MoonTransformer
from trainer.training.batches import MapEncoding
from trainer.training.model import bare


def idle_in_skip_stage(module: MoonTransformer) -> tuple[str, ...]:
    """Patterns of what the skip path's own stage does not train; statistics take the projector's place."""
    idle = (r"language_model\.(layers|norm)", r"moon_skip\.gate")
    return (*idle, "projector") if module.moon.picture_dims else idle


def gate_is_closed(module: MoonTransformer) -> bool:
    """Whether the model has a skip path past an LLM that does not count yet."""
    return module.moon.skip and not module.model.moon_skip.gate.any()


@torch.no_grad()
def align_projector(module: MoonTransformer, tokens: Tensor) -> None:
    """Start the projector so that visual tokens keep the tower's geometry: centred principal components.

    ``tokens`` (pictures, channels) are mean tower features. The first layer is small enough that its GELU is nearly
    linear, and the second scales the tokens to the length of the word embeddings.
    """
    mean = tokens.mean(0)
    projector = bare(module).multi_modal_projector
    width = projector.linear_1.out_features
    rank = min(width, *tokens.shape)
    _, spread, components = torch.pca_lowrank(tokens - mean, q=rank, center=False, niter=4)
    components = nn.functional.pad(components, (0, width - rank))
    small = 0.05 / (spread[0] / len(tokens) ** 0.5)
    projector.linear_1.weight.copy_(components.T * small)
    projector.linear_1.bias.copy_(-small * components.T @ mean)
    typical = ((tokens - mean) @ components * small / 2).norm(dim=1).mean()
    words = module.model.get_input_embeddings().weight.norm(dim=1).mean()
    projector.linear_2.weight.copy_(torch.eye(width) * words / typical)
    projector.linear_2.bias.zero_()


@torch.no_grad()
def align_pictures(path: PicturePath, statistics: Tensor) -> None:
    """Start looks as principal components of the tower's statistics (pictures, channels) of training pictures.

    Components keep their length: scaled down, the first steps of training would wipe them out.
    """
    path.centre.copy_(statistics.mean(dim=0))
    path.spread.copy_(statistics.std(dim=0).clamp(min=1e-3))
    standard = (statistics - path.centre) / path.spread
    rank = min(path.picture_dims, *standard.shape)
    _, deviations, components = torch.pca_lowrank(standard, q=rank, center=False, niter=4)
    path.looks.weight.zero_()
    path.looks.weight[:rank] = (components / (deviations / deviations[0]).sqrt()).T


class _PassThrough(nn.Module):
    """Stands in for the decoder and hands its input on."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embed_tokens = embeddings

    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    def forward(self, inputs_embeds: Tensor, **kwargs: Any) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=inputs_embeds)


class _NoProjector(nn.Module):
    """Stands in for the projector where statistics speak for pictures: one empty visual token of each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.new_zeros(len(tokens), 1, self._width)


@contextmanager
def without_decoder(module: MoonTransformer, encoding: MapEncoding) -> Iterator[None]:
    """While the gate is closed the decoder's output counts nothing, so it need not be computed.

    Nor need visual tokens where the skip path takes pictures from statistics: ``encoding`` writes one for each.
    """
    model = bare(module)
    decoder, projector, visual_tokens = model.language_model, model.multi_modal_projector, encoding.visual_tokens
    model.language_model = _PassThrough(decoder.get_input_embeddings())
    model.language_model.register_forward_pre_hook(module.enter_decoder, with_kwargs=True)
    if module.moon.picture_dims:
        model.multi_modal_projector = _NoProjector(projector.linear_2.out_features)
        encoding.visual_tokens = 1
    try:
        yield
    finally:
        model.language_model, model.multi_modal_projector = decoder, projector
        encoding.visual_tokens = visual_tokens


@torch.no_grad()
def standardise_llm(module: MoonTransformer, batches: Iterable[dict[str, Any]]) -> None:
    """Measure the LLM output's mean and deviation per channel over content tokens, before its gate opens."""
    outputs: list[Tensor] = []
    skip = module.model.moon_skip
    watch = skip.register_forward_pre_hook(lambda _, arguments: outputs.append(arguments[1]))
    for features in batches:
        device = module.model.device
        batch = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}
        content = module.markers.content(batch["input_ids"], batch["attention_mask"]).bool()
        module(batch)
        outputs[-1] = outputs[-1][content]
    watch.remove()
    tokens = torch.cat(outputs)
    skip.centre.copy_(tokens.mean(dim=0))
    skip.spread.copy_(tokens.std(dim=0).clamp(min=1e-3))
