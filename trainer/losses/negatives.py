"""What queries are compared with: the documents of the step on all ranks and of past batches, and false negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from sentence_transformers.util import get_rank, get_world_size
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Documents:
    """Positives and hard negatives: M of this step, with gradient, then R of past batches, without.

    ``current`` (M, width) · ``past`` (R, width) · ``keys`` (M + R, K) · ``first``: the row at which this rank's own
    documents begin, its B positives followed by its B hard negatives.
    """

    current: Tensor
    past: Tensor
    keys: Tensor
    first: int

    def similarities(self, queries: Tensor, width: int) -> Tensor:
        """Cosine of queries (b, d) and documents, both cut to ``width``, shape (b, M + R), in float32 or better."""
        cut = unit(queries, width)
        return torch.cat([cut @ unit(vectors, width).T for vectors in (self.current, self.past)], dim=1)


def unit(vectors: Tensor, width: int) -> Tensor:
    """Vectors (n, d) cut to ``width`` and normalised, in float32 or better."""
    exact = torch.promote_types(vectors.dtype, torch.float32)
    return functional.normalize(vectors[:, :width].to(exact), dim=1)


def gather(documents: Tensor, keys: Tensor, shared: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """Spatial negatives (paper): this rank's (n, width) and (n, K) become those of all ranks, in the ranks' order.

    Gradients flow back to the rank a document came from and are summed there, so that averaging the gradient over
    ranks, as DDP does, gives that of one process with the joined batch. ``shared`` is a scalar that is the same on
    all ranks and comes back as it is; its gradient is the mean over ranks. Also returns the row where this rank begins.
    """
    if get_world_size() == 1:
        return documents, keys, shared, 0
    return *_Gather.apply(documents, keys, shared), get_rank() * len(documents)


class _Gather(torch.autograd.Function):
    """One collective on the way there and one back: small batches pay for their number, not for their size."""

    @staticmethod
    def forward(ctx: Any, documents: Tensor, keys: Tensor, shared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        own = torch.cat([part.contiguous().view(torch.uint8) for part in (documents, keys)], dim=1)
        parts = [torch.empty_like(own) for _ in range(get_world_size())]
        torch.distributed.all_gather(parts, own)
        sizes = [part.shape[1] * part.element_size() for part in (documents, keys)]
        rows, row_keys = torch.cat(parts).split(sizes, dim=1)
        row_keys = row_keys.contiguous().view(keys.dtype)
        ctx.mark_non_differentiable(row_keys)
        return rows.contiguous().view(documents.dtype), row_keys, shared.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any, shared: Tensor) -> tuple[Tensor, None, Tensor]:
        ranks = get_world_size()
        both = torch.cat([gradient.flatten(), (shared / ranks).to(gradient.dtype).view(1)])
        torch.distributed.all_reduce(both)
        return both[:-1].view_as(gradient).chunk(ranks)[get_rank()], None, both[-1].to(shared.dtype)


def averaged(shared: Tensor) -> Tensor:
    """A scalar that is the same on all ranks, as it is; its gradient is the mean over ranks, as DDP's are."""
    if shared.requires_grad:
        shared = shared.clone()
        shared.register_hook(_mean_over_ranks)
    return shared


def _mean_over_ranks(gradient: Tensor) -> Tensor:
    ranks = get_world_size()
    if ranks > 1:
        gradient = gradient / ranks
        torch.distributed.all_reduce(gradient)
    return gradient


def share_a_key(queries: Tensor, documents: Tensor) -> Tensor:
    """Boolean (B, N): whether keys of a query (B, K) and of a document (N, K) have one in common; 0 is no key."""
    vocabulary = queries.flatten().sort().values
    absent = len(vocabulary)

    def places(keys: Tensor) -> Tensor:
        place = torch.searchsorted(vocabulary, keys.contiguous())
        known = (vocabulary[place.clamp(max=absent - 1)] == keys) & (keys != 0)
        return place.where(known, absent)

    holders = torch.zeros(absent + 1, len(queries), device=queries.device)
    holders[places(queries), torch.arange(len(queries), device=queries.device)[:, None]] = 1
    holders[absent] = 0
    return (functional.embedding_bag(places(documents), holders, mode="sum") > 0).T
