"""MOON's contrastive loss (paper, eq. 5) as a sentence-transformers loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.distributed
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.gradcache import CachedLossMixin, RandContext
from sentence_transformers.util import get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from app.moon.experts import GuidedExperts
from trainer.losses.circle import circle
from trainer.losses.infonce import infonce
from trainer.losses.memory import Memory
from trainer.losses.negatives import Documents, gather, share_a_key

TEMPERATURES = (0.01, 0.1)
"""Limits of the learned temperature (our decision)."""
SIMILARITIES = 2**22
"""Held at a time; larger batches are compared piece by piece, and each piece again in the backward pass."""
OBJECTIVES = {"infonce": infonce, "circle": circle}
COLUMNS = 3


class MoonLoss(CachedLossMixin, nn.Module):
    """Queries against their positives; negatives are all other documents of the step on all ranks and of past steps.

    A query has 2PB(k + 1) - 1 negatives for P ranks, batches of B and k past batches, less the false ones. Columns are
    queries, positives and hard negatives, B rows each, B the same on all ranks and in all steps (another B restarts
    the memory). Labels (B, 3, K) hold the keys of query, positive and hard negative, 0 for none.

    Our decisions: a document that shares a key with the query is a false negative; so is one whose similarity exceeds
    the positive's by over ``margin`` (``None``: none is), judged on the full vectors for all widths. The query's own
    hard negative is never one: "the same in blue" has to learn from the red product of its photo. The temperature is
    learned within ``TEMPERATURES``. The loss is the mean over the full vector and every dimension of ``dims`` below
    its width (Matryoshka), cut and normalised anew. Similarities are computed in float32.

    Neither other ranks nor the memory take part where the loss is in evaluation mode or gradients are off, which is
    how the Trainer evaluates. The temperature's gradient is averaged over ranks here, since only the model is wrapped.

    ``objective``: ``infonce`` or ``circle`` · ``past_batches``: k · ``memory_warmup``: batches before the memory is
    used · ``spatial``: whether other ranks' documents take part · ``hard_negatives``: whether the third column does ·
    ``mini_batch_size``: rows per model call with gradient caching, ``None`` for a call per column and no caching ·
    ``accumulation``: steps whose gradients the Trainer adds up; it only weighs the experts' load balancing, of which an
    optimiser step receives the mean over its model calls by rows.

    After a training step ``stats`` holds, as tensors and of this rank, ``negatives`` and ``masked`` (means per query)
    and ``temperature``. Raises ValueError for columns or labels of another shape and for arguments out of range.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        objective: Literal["infonce", "circle"] = "infonce",
        temperature: float = 0.05,
        margin: float | None = 0.1,
        past_batches: int = 2,
        memory_warmup: int = 0,
        spatial: bool = True,
        hard_negatives: bool = True,
        dims: Sequence[int] = (),
        mini_batch_size: int | None = None,
        accumulation: int = 1,
    ) -> None:
        super().__init__()
        if objective not in OBJECTIVES:
            raise ValueError(f"objective is {objective!r}; choose one of {', '.join(OBJECTIVES)}")
        if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
            raise ValueError(f"temperature is {temperature}; choose one within {TEMPERATURES[0]} and {TEMPERATURES[1]}")
        counts = (accumulation, *dims) if mini_batch_size is None else (accumulation, mini_batch_size, *dims)
        if min(past_batches, memory_warmup) < 0 or min(counts) < 1:
            raise ValueError(
                "past_batches and memory_warmup may not be negative, nor mini_batch_size, accumulation and dims be "
                f"below 1; got {past_batches}, {memory_warmup}, {mini_batch_size}, {accumulation} and {list(dims)}"
            )
        self.model = model
        self.objective = OBJECTIVES[objective]
        self.margin, self.spatial, self.dims, self.accumulation = margin, spatial, tuple(dims), accumulation
        self.hard_negatives, self._used = hard_negatives, COLUMNS if hard_negatives else COLUMNS - 1
        self.uses_gradient_cache = mini_batch_size is not None
        self.mini_batch_size = mini_batch_size or 0
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.memory = Memory(past_batches, memory_warmup)
        self.stats: dict[str, Tensor] = {}
        self._experts = [module for module in model.modules() if isinstance(module, GuidedExperts)]
        self._temperature_gradient: Tensor | None = None

    @property
    def temperature(self) -> Tensor:
        """A scalar with gradient."""
        return self.log_temperature.exp()

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Features of the three columns and keys (B, 3, K) to the mean loss of this rank's queries, a scalar."""
        columns = list(sentence_features)
        if len(columns) != COLUMNS or labels.ndim != 3 or labels.shape[1] != COLUMNS or labels.shape[2] < 1:
            raise ValueError(
                f"expected {COLUMNS} columns (queries, positives, hard negatives) and labels of shape (B, {COLUMNS}, "
                f"K), K at least 1; got {len(columns)} columns and labels of shape {tuple(labels.shape)}"
            )
        with torch.no_grad():  # moved, not only cut off: outside its limits the parameter would get no gradient
            self.log_temperature.clamp_(*map(math.log, TEMPERATURES))
        columns = columns[: self._used]
        if not self.uses_gradient_cache:
            self._weigh_balance(1 / self._used)
            reps = [[self._with_all_parameters(self.model(column)["sentence_embedding"])] for column in columns]
            return self.calculate_loss(reps, labels)
        loss = self.forward_cached(columns, labels)
        if self._temperature_gradient is not None:
            loss = loss + (self.log_temperature - self.log_temperature.detach()) * self._temperature_gradient
            self._temperature_gradient = None
        return loss

    def embed_minibatch(
        self, sentence_feature: dict[str, Tensor], begin: int, end: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, RandContext | None]:
        """Also tells the experts what share of the step's rows this call has."""
        self._weigh_balance((end - begin) / (self._used * len(sentence_feature["input_ids"])))
        embeddings, random_state = super().embed_minibatch(sentence_feature, begin, end, *args, **kwargs)
        return self._with_all_parameters(embeddings), random_state

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """The loss from embeddings, per column in mini-batches; ``with_backward`` as gradient caching asks for it."""
        queries, *others = (torch.cat(column) for column in reps)
        log_temperature: Tensor = self.log_temperature
        if with_backward:  # the gradient waits for the backward pass of the returned loss, as the embeddings' does
            log_temperature = log_temperature.detach().requires_grad_()
        with torch.autocast(queries.device.type, enabled=False):
            loss = self._contrast(queries, torch.cat(others), cast(Tensor, labels)[:, : self._used], log_temperature)
        if with_backward:
            loss.backward()
            self._temperature_gradient = log_temperature.grad
        return loss.detach() if with_backward else loss

    def _contrast(self, queries: Tensor, documents: Tensor, labels: Tensor, log_temperature: Tensor) -> Tensor:
        """Queries (B, d) against their own documents, B of each column, and those of other ranks and past batches."""
        batch = len(queries)
        if len(documents) != (self._used - 1) * batch or len(labels) != batch:
            raise ValueError(
                f"got {batch} queries, {len(documents)} positives and hard negatives, and labels for {len(labels)}; "
                "every query needs one of each"
            )
        training = self.training and torch.is_grad_enabled()
        keys, first = labels[:, 1:].transpose(0, 1).flatten(0, 1), 0
        if training and self.spatial:
            documents, keys, log_temperature, first = gather(documents, keys, log_temperature)
        elif training and log_temperature.requires_grad:
            log_temperature = log_temperature.clone()
            log_temperature.register_hook(_mean_over_ranks)
        past, past_keys = self.memory.recall(documents, keys) if training else (documents[:0], keys[:0])
        temperature = log_temperature.exp()
        pool = Documents(documents, past, torch.cat([keys, past_keys]), first)

        rows = max(1, SIMILARITIES // len(pool.keys))
        compare = self._compare
        if torch.is_grad_enabled() and rows < batch:
            compare = partial(checkpoint, self._compare, use_reentrant=False, preserve_rng_state=False)
        pieces = [
            compare(queries[start : start + rows], labels[start : start + rows, 0], pool, start, batch, temperature)
            for start in range(0, batch, rows)
        ]
        losses, masked = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        if training:
            self.memory.add(documents, keys)
            left_out = masked.float().mean()
            self.stats = {
                "negatives": len(pool.keys) - 1 - left_out,
                "masked": left_out,
                "temperature": temperature.detach(),
            }
        return losses.mean()

    def _compare(
        self, queries: Tensor, keys: Tensor, pool: Documents, start: int, batch: int, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and number of false negatives of the queries from row ``start`` of the batch, both of shape (b,)."""
        rows = torch.arange(len(queries), device=queries.device)
        own = pool.first + start + rows
        width = queries.shape[1]
        similarities = pool.similarities(queries, width)
        left_out = share_a_key(keys, pool.keys)
        if self.margin is not None:
            scores = similarities.detach()
            left_out |= scores > scores[rows, own, None] + self.margin
        if self.hard_negatives:
            left_out[rows, own + batch] = False
        left_out[rows, own] = True  # the positive itself is no negative
        losses = []
        for dim in (width, *(dim for dim in self.dims if dim < width)):
            cut = similarities if dim == width else pool.similarities(queries, dim)
            losses.append(self.objective(cut[rows, own, None], cut, left_out, temperature))
        return torch.stack(losses).mean(dim=0), left_out.sum(dim=1) - 1

    def _with_all_parameters(self, embeddings: Tensor) -> Tensor:
        """The same embeddings, of which every trained parameter is a part, with gradient 0 if it was not used.

        DistributedDataParallel waits for all of them, and an expert without tokens would never answer.
        """
        if not isinstance(self.model, DistributedDataParallel) or not embeddings.requires_grad:
            return embeddings
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return embeddings + 0.0 * torch.stack([parameter.view(-1)[0].float() for parameter in parameters]).sum()

    def _weigh_balance(self, share: float) -> None:
        """``share``: rows of the next model call relative to those of all columns.

        Left as it is after the call, since gradient checkpointing computes the layers again in the backward pass.
        """
        for experts in self._experts:
            experts.balance_scale = share / self.accumulation


def _mean_over_ranks(gradient: Tensor) -> Tensor:
    ranks = get_world_size()
    if ranks > 1:
        gradient = gradient / ranks
        torch.distributed.all_reduce(gradient)
    return gradient
