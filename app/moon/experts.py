"""Guided mixture of experts (paper, eq. 4): one linear router, free experts, and experts reserved for segments.

    out(x) = sum_{n <= N-2} G_n(x) f_n(x) + G_{N-1}(x) f_{N-1}(x_category) + G_N(x) f_N(x_attribute)

Our decisions: experts that may not see a token are left out of its softmax, so each token's weights sum to 1; top-k
picks among free experts only; padding has no expert and counts in no statistic; experts start as copies of the
pretrained FFN and the router at 0, so that an upcycled model computes on real tokens exactly what its base computed.
"""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import ModelError
from app.moon.config import MoonConfig
from app.moon.segments import TokenType


class GuidedExperts(nn.Module, ABC):
    """Takes the place of a decoder layer's FFN. Subclasses say what an expert is.

    ``balance_scale`` multiplies the load-balancing loss of the next calls. A training loss that calls the model several
    times per optimiser step (columns, chunks, gradient accumulation) sets it to one over their number, so that the step
    balances the mean of its calls. Under reentrant checkpointing it has to keep its value until the backward pass.

    ``observers`` are told of every call: this layer, the routing weights (batch, tokens, experts) with their gradient,
    and the token types (batch, tokens). Layers that gradient checkpointing computes again tell again.
    """

    token_types: Tensor | None
    balance_scale: float
    observers: list[Callable[[GuidedExperts, Tensor, Tensor], None]]

    def __init__(self, config: MoonConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.router = nn.Linear(width, config.experts, bias=False)
        nn.init.zeros_(self.router.weight)
        self.token_types = None
        self.balance_scale = 1.0
        self.observers = []

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (batch, tokens, width) to the weighted sum of each token's experts, same shape; 0 on padding.

        ``token_types`` (batch, tokens) is set by the layer in the very call it belongs to.
        """
        flat = hidden.reshape(-1, hidden.shape[-1])
        types = self.token_types
        types = flat.new_zeros(len(flat), dtype=torch.long) if types is None else types.reshape(-1)
        weights = self.route(flat, types)
        for observe in self.observers:
            observe(self, weights.unflatten(0, hidden.shape[:-1]), types.unflatten(0, hidden.shape[:-1]))
        rows = (types != TokenType.PADDING).nonzero().squeeze(1)
        if len(rows) == len(flat):
            return self.mix(flat, weights).reshape(hidden.shape)
        mixed = self.mix(flat[rows], weights[rows])
        return mixed.new_zeros(flat.shape).index_copy(0, rows, mixed).reshape(hidden.shape)

    def route(self, flat: Tensor, types: Tensor) -> Tensor:
        """Weight of every expert on every token, shape (tokens, experts); in training, adds the load-balancing loss."""
        logits = self.router(flat).float()
        if self.training and self.config.balance > 0 and torch.is_grad_enabled():
            free = self.config.free_experts
            loss = _balance(logits[:, :free], self.used(logits, types)[:, :free])
            logits = _AddLossGradient.apply(logits, loss, self.config.balance * self.balance_scale)
        return self.weigh(logits, types).to(flat.dtype)

    def used(self, logits: Tensor, types: Tensor) -> Tensor:
        """Boolean (tokens, experts): the top-k free experts of a token and the one that is reserved for its type."""
        real, free = types != TokenType.PADDING, logits[:, : self.config.free_experts]
        best = torch.zeros_like(free, dtype=torch.bool).scatter(1, free.topk(self.config.top_k, dim=1).indices, True)
        kinds = (TokenType.CATEGORY, TokenType.ATTRIBUTE) if self.config.guided else ()
        return torch.cat([best & real[:, None], *((types == kind)[:, None] for kind in kinds)], dim=1)

    def weigh(self, logits: Tensor, types: Tensor) -> Tensor:
        """Router logits (tokens, experts) and token types (tokens,) to weights (tokens, experts).

        In single precision or better, and exactly 0 where an expert is not used; padding has the weight 0 everywhere.
        """
        logits, used = logits.float(), self.used(logits, types)
        if self.config.renormalise:  # not -inf: a row of nothing else, as padding has, would be NaN
            logits = logits.masked_fill(~used, torch.finfo(logits.dtype).min)
        return logits.softmax(dim=1).masked_fill(~used, 0.0)

    @abstractmethod
    def mix(self, flat: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of the experts' outputs, shape (tokens, width); an expert computes only its own tokens."""


class FullExperts(GuidedExperts):
    """Every expert is a complete copy of the FFN (paper)."""

    def __init__(self, config: MoonConfig, width: int, ffn: nn.Module) -> None:
        super().__init__(config, width)
        self.experts = nn.ModuleList(copy.deepcopy(ffn) for _ in range(config.experts))

    def mix(self, flat: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            rows = weights[:, number].nonzero().squeeze(1)
            if len(rows):
                out = out.index_add(0, rows, (expert(flat[rows]) * weights[rows, number, None]).to(out.dtype))
        return out


class LowRankExperts(GuidedExperts):
    """One shared FFN and, per expert, a rank-r update of its gate, up and down projections (our decision)."""

    def __init__(self, config: MoonConfig, width: int, ffn: Any, rank: int) -> None:
        super().__init__(config, width)
        self.shared: Any = ffn
        inner: int = ffn.gate_proj.out_features
        self.gate = _Updates(config.experts, width, inner, rank)
        self.up = _Updates(config.experts, width, inner, rank)
        self.down = _Updates(config.experts, inner, width, rank)

    def mix(self, flat: Tensor, weights: Tensor) -> Tensor:
        gate, up = self.shared.gate_proj(flat), self.shared.up_proj(flat)
        inner, out = torch.zeros_like(gate), torch.zeros_like(flat)
        for number in range(self.config.experts):
            rows = weights[:, number].nonzero().squeeze(1)
            if not len(rows):
                continue
            if len(rows) == len(flat):  # indexing every row would only copy
                activated = self._activate(number, flat, gate, up, weights)
                inner, out = inner + activated, out + self.down(number, activated)
            else:
                activated = self._activate(number, flat[rows], gate[rows], up[rows], weights[rows])
                inner = inner.index_add(0, rows, activated.to(inner.dtype))
                out = out.index_add(0, rows, self.down(number, activated).to(out.dtype))
        return out + self.shared.down_proj(inner)

    def _activate(self, number: int, x: Tensor, gate: Tensor, up: Tensor, weights: Tensor) -> Tensor:
        """The weighted inner activation of one expert; gate and up come from the shared FFN."""
        opened = self.shared.act_fn(gate + self.gate(number, x))
        return opened * (up + self.up(number, x)) * weights[:, number, None]


class _Updates(nn.Module):
    """Low-rank matrices of all experts for one projection; ``b`` starts at 0, so the update does too."""

    def __init__(self, experts: int, source: int, target: int, rank: int) -> None:
        super().__init__()
        self.a = nn.ParameterList(nn.Parameter(torch.empty(rank, source)) for _ in range(experts))
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(target, rank)) for _ in range(experts))
        for a in self.a:
            nn.init.kaiming_uniform_(a, a=5**0.5)

    def forward(self, number: int, x: Tensor) -> Tensor:
        return x @ self.a[number].T @ self.b[number].T


class _AddLossGradient(torch.autograd.Function):
    """Identity on ``logits`` whose backward also sends ``coefficient`` as gradient into ``loss``.

    The load-balancing loss is thereby added to whatever loss is trained, also when the layer is recomputed under
    gradient checkpointing, without being collected anywhere.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, loss: Tensor, coefficient: float) -> Tensor:
        ctx.gradient = torch.full_like(loss, coefficient)
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, ctx.gradient, None


def _balance(logits: Tensor, used: Tensor) -> Tensor:
    """Switch-style balance of the free experts: N * sum(share of tokens * mean probability); 1 when even.

    Over the rows of real tokens, which are those that use an expert.
    """
    real = used.any(dim=1, keepdim=True)
    share = used.sum(dim=0) / used.sum().clamp(min=1)
    mean = logits.softmax(dim=1).masked_fill(~real, 0.0).sum(dim=0) / real.sum().clamp(min=1)
    return logits.shape[1] * (share * mean).sum()


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The language model's decoder layers (vision blocks have an ``mlp`` too and must not be touched)."""
    for name in ("language_model", "text_model"):
        layers = getattr(getattr(model, name, None), "layers", None)
        if isinstance(layers, nn.ModuleList) and all(hasattr(layer, "mlp") for layer in layers):
            return layers
    raise ModelError(
        f"{type(model).__name__} has no language_model or text_model with FFN layers; choose another base model."
    )


def insert_experts(model: Any, config: MoonConfig) -> None:
    """Replace the FFN of the chosen decoder layers by guided experts that compute the same (upcycling)."""
    layers: Any = decoder_layers(model)
    chosen = range(len(layers)) if config.moe_layers == "all" else range(len(layers) - 1, len(layers) // 2 - 1, -2)
    for index in chosen:
        layer, ffn = layers[index], layers[index].mlp
        weight = next(ffn.parameters())
        width = model.config.get_text_config().hidden_size
        experts: GuidedExperts
        if config.expert_rank is None:
            experts = FullExperts(config, width, ffn)
        elif all(isinstance(getattr(ffn, name, None), nn.Linear) for name in ("gate_proj", "up_proj", "down_proj")):
            experts = LowRankExperts(config, width, ffn, config.expert_rank)
        else:
            raise ModelError(
                f"{type(ffn).__name__} is not a gated FFN; use full experts (expert_rank=None) for this model."
            )
        layer.mlp = experts.to(device=weight.device, dtype=weight.dtype)
        kind: Any = type(layer)
        layer.__class__ = _guided_layer(kind)


@functools.cache
def _guided_layer(base: Any) -> Any:
    """A subclass of a decoder layer's class that hands the token types of this very call to its experts.

    A forward method, since hooks do not run again when gradient checkpointing recomputes a layer.
    """

    def forward(self: Any, *args: Any, token_types: Tensor | None = None, **kwargs: Any) -> Any:
        self.mlp.token_types = token_types
        return base.forward(self, *args, **kwargs)

    return type(base.__name__, (base,), {"forward": forward, "__module__": base.__module__})
