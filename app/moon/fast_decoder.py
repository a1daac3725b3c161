"""The starter's small LLM as it runs on a CPU: compiled by OpenVINO if that is installed.

Our decision. The compiled decoder is the same function within float noise. Its graph is written from the decoder's own
modules: every token passes every low-rank expert, and weights of 0 take out those that may not see it.
"""

from __future__ import annotations

import logging
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from app.moon.compiled import Compute, compiled, installed, operations
from app.moon.config import MoonConfig
from app.moon.experts import LowRankExperts
from app.moon.segments import TokenType

logger = logging.getLogger(__name__)

NEVER = -1e30
"""Added to a logit, it leaves exactly no weight."""


class FastDecoder(LlamaModel):
    """A decoder for inference on a CPU, in single precision."""

    _compute: Compute

    @classmethod
    def of(cls, decoder: nn.Module, config: MoonConfig) -> None:
        """Turns a decoder into a fast one, in place, if OpenVINO is installed and the graph covers all of its parts."""
        if not (installed() and covers(decoder, config)):
            logger.info("decoder: torch")
            return
        fast: Any = decoder
        fast.__class__ = cls
        fast._compute = _Graph(operations(), fast).compiled()
        logger.info("decoder: OpenVINO (%d threads)", torch.get_num_threads())

    def forward(
        self, inputs_embeds: Tensor, token_types: Tensor, position_ids: Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPast:
        """The final hidden states (batch, tokens, width); attention and padding follow from ``token_types``.

        Without ``position_ids`` (batch, tokens) every token has its place as position.
        """
        if position_ids is None:
            position_ids = torch.arange(inputs_embeds.shape[1]).unsqueeze(0)
        hidden = self._compute(inputs_embeds, token_types.int(), position_ids.float())[0]
        return BaseModelOutputWithPast(last_hidden_state=hidden)


def covers(decoder: nn.Module, config: MoonConfig) -> bool:
    """Whether a decoder is a Llama in single precision with low-rank experts in all layers, as the starter's is."""
    return (
        type(decoder) is LlamaModel
        and decoder.dtype == torch.float32
        and config.attention == "bidirectional"
        and config.renormalise
        and config.top_k == config.free_experts  # then each token's experts follow from its type
        and decoder.config.hidden_act == "silu"
        and decoder.rotary_emb.rope_type == "default"
        and not (decoder.config.attention_bias or decoder.config.mlp_bias)
        and all(isinstance(layer.mlp, LowRankExperts) for layer in decoder.layers)
    )


class _Graph:
    """Writes the OpenVINO graph of a decoder."""

    def __init__(self, ops: Any, decoder: Any) -> None:
        self.ops, self.decoder = ops, decoder
        self.embedded = ops.parameter([-1, -1, decoder.config.hidden_size], np.float32)
        self.types = ops.parameter([-1, -1], np.int32)
        self.places = ops.parameter([-1, -1], np.float32)
        table = np.array([NEVER if kind == TokenType.PADDING else 0.0 for kind in TokenType], dtype=np.float32)
        self.mask = ops.unsqueeze(self._of_types(table), [1, 2])
        self.cos, self.sin = self._positions()

    def compiled(self) -> Compute:
        hidden = reduce(self._layer, self.decoder.layers, self.embedded)
        return compiled([self._norm(hidden, self.decoder.norm)], [self.embedded, self.types, self.places])

    def _layer(self, hidden: Any, layer: Any) -> Any:
        hidden = self.ops.add(hidden, self._attention(self._norm(hidden, layer.input_layernorm), layer.self_attn))
        return self.ops.add(hidden, self._experts(self._norm(hidden, layer.post_attention_layernorm), layer.mlp))

    def _of_types(self, table: Any) -> Any:
        """The row of ``table`` that belongs to each token's type; types count from PADDING."""
        places = self.ops.subtract(self.types, np.int32(TokenType.PADDING))
        return self.ops.gather(table, places, np.int32(0))

    def _linear(self, hidden: Any, *weights: Tensor) -> Any:
        """``hidden`` times stacked weights, each of shape (outputs, inputs)."""
        return self.ops.matmul(hidden, torch.cat(weights).detach().numpy(), False, True)

    def _norm(self, hidden: Any, norm: Any) -> Any:
        ops = self.ops
        mean = ops.reduce_mean(ops.power(hidden, np.float32(2)), [-1], True)
        scale = ops.divide(np.float32(1), ops.sqrt(ops.add(mean, np.float32(norm.variance_epsilon))))
        return ops.multiply(ops.multiply(hidden, scale), norm.weight.detach().numpy())

    def _positions(self) -> tuple[Any, Any]:
        """Cosines and sines (rows, tokens, 1, head_dim) of positions; the first half of the sines is negative."""
        ops, rotary = self.ops, self.decoder.rotary_emb
        angles = ops.multiply(ops.unsqueeze(self.places, [2, 3]), rotary.inv_freq.numpy().reshape(1, 1, 1, -1))
        cos, sin = ops.cos(angles), ops.sin(angles)
        return ops.concat([cos, cos], -1), ops.concat([ops.negative(sin), sin], -1)

    def _attention(self, hidden: Any, attention: Any) -> Any:
        """Padding is no key. Heads that share keys and values stand one after the other, as if they were tokens."""
        ops, size = self.ops, attention.head_dim
        queries, keys = (module.out_features // size for module in (attention.q_proj, attention.k_proj))
        projected = self._linear(hidden, *(getattr(attention, f"{name}_proj").weight for name in "qkv"))
        heads = ops.reshape(projected, np.array([0, 0, queries + 2 * keys, size]), True)
        turned, value = ops.variadic_split(heads, 2, [queries + keys, keys]).outputs()
        first, second = ops.split(turned, 3, 2).outputs()
        turned = ops.add(ops.multiply(turned, self.cos), ops.multiply(ops.concat([second, first], -1), self.sin))
        order = np.array([0, 2, 1, 3])
        query, key = ops.variadic_split(ops.transpose(turned, order), 1, [queries, keys]).outputs()
        query = ops.reshape(query, np.array([0, keys, -1, size]), True)
        mixed = ops.scaled_dot_product_attention(
            query, key, ops.transpose(value, order), self.mask, np.float32(attention.scaling)
        )
        mixed = ops.transpose(ops.reshape(mixed, np.array([0, queries, -1, size]), True), order)
        return self._linear(ops.reshape(mixed, np.array([0, 0, -1]), True), attention.o_proj.weight)

    def _experts(self, hidden: Any, experts: LowRankExperts) -> Any:
        """Every expert on every token: what :meth:`LowRankExperts.mix` computes for the tokens of each."""
        ops, count, rank = self.ops, experts.config.experts, experts.config.expert_rank
        weights = ops.softmax(ops.add(self._linear(hidden, experts.router.weight), self._barred(experts.config)), 2)
        weight = ops.split(weights, 2, count).outputs()
        stacked = experts.shared.gate_proj.weight, experts.shared.up_proj.weight, *experts.gate.a, *experts.up.a
        inner = experts.shared.gate_proj.out_features
        sizes = [inner, inner, *[rank] * (2 * count)]
        gate, up, *low = ops.variadic_split(self._linear(hidden, *stacked), 2, sizes).outputs()
        activated = []
        for number in range(count):
            opened = ops.swish(ops.add(self._linear(low[number], experts.gate.b[number]), gate))
            raised = ops.add(self._linear(low[count + number], experts.up.b[number]), up)
            activated.append(ops.multiply(ops.multiply(opened, raised), weight[number]))
        updates = [self._linear(part, a) for part, a in zip(activated, experts.down.a, strict=True)]
        down = np.concatenate([b.detach().numpy() for b in experts.down.b], axis=1)
        shared = self._linear(reduce(ops.add, activated), experts.shared.down_proj.weight)
        return ops.add(shared, ops.matmul(ops.concat(updates, 2), down, False, True))

    def _barred(self, config: MoonConfig) -> Any:
        """What keeps tokens from experts that are not theirs, (batch, tokens, experts), to be added to the logits."""
        table = np.zeros((len(TokenType), config.experts), dtype=np.float32)
        for number, kind in enumerate((TokenType.CATEGORY, TokenType.ATTRIBUTE), start=config.free_experts):
            table[[place for place, other in enumerate(TokenType) if other != kind], number] = NEVER
        return self._of_types(table)
