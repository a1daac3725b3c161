"""MOON's contrastive loss (paper, eq. 5) as a sentence-transformers loss, with the joint learning of MOON2.0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, cast

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.gradcache import CachedLossMixin, RandContext
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from app.moon.experts import GuidedExperts
from trainer.losses.alignment import Alignment
from trainer.losses.circle import circle
from trainer.losses.columns import Columns, Queries
from trainer.losses.filtering import SampleFilter
from trainer.losses.infonce import infonce
from trainer.losses.memory import Memory
from trainer.losses.negatives import Documents, averaged, gather, share_a_key
from trainer.losses.objectives import ObjectiveWeights
from trainer.losses.routing import apart, beside, sample_routing

TEMPERATURES = (0.01, 0.1)
"""Limits of the learned temperatures (our decision)."""
SIMILARITIES = 2**22
"""Held at a time; larger batches are compared piece by piece, and each piece again in the backward pass."""
OBJECTIVES = {"infonce": infonce, "circle": circle}


class MoonLoss(CachedLossMixin, nn.Module):
    """Queries against their positives; negatives are all other documents of the step on all ranks and of past steps.

        L = 1/B sum over triplets and query views of w_objective s_query L_query + intra * L_intra

    A query has 2PB(k + 1) - 1 negatives for P ranks, batches of B and k past batches, less the false ones. Columns are
    queries, positives and hard negatives, B the same on all ranks and in all steps (another B restarts the memory).
    Labels (B, 3, K) hold the keys of query, positive and hard negative, 0 for none. Several query views of one triplet
    (MOON2.0) are as many columns and labels, which share the documents, see :class:`~trainer.losses.columns.Columns`.

    Our decisions: a document that shares a key with the query is a false negative; so is one whose similarity exceeds
    the positive's by over ``margin`` (``None``: none is), judged on the full vectors for all widths. The query's own
    hard negative is never one ("the same in blue" has to learn from the red product of its photo), but where the keys
    of a view hold ``ALSO_RIGHT``. The temperature is learned within ``TEMPERATURES``. The loss is the mean over the
    full vector and every dimension of ``dims`` below its width (Matryoshka), cut and normalised anew. Similarities are
    computed in float32. The mean is over the B triplets, so that a view which a triplet lacks counts as 0.

    Neither other ranks nor the memory nor weights take part where the loss is in evaluation mode or gradients are off,
    which is how the Trainer evaluates. Gradients of temperatures are averaged over ranks here, since only the model is
    wrapped.

    ``objective``: ``infonce`` or ``circle`` · ``past_batches``: k · ``memory_warmup``: batches before the memory is
    used · ``spatial``: whether other ranks' documents take part · ``hard_negatives``: whether the hard negatives'
    column does · ``mini_batch_size``: rows per model call with gradient caching, ``None`` for a call per column and no
    caching · ``accumulation``: steps whose gradients the Trainer adds up; it only weighs the experts' load balancing,
    of which an optimiser step receives the mean over its model calls by rows · ``intra``: weight of the
    :class:`~trainer.losses.alignment.Alignment` of products, 0 for none · ``objective_weights``: w, 1 without
    it; what it adds to the loss is added as a gradient only · ``sample_filter``: s, 1 without it; of the scores of the
    positive and the query's own hard negative, or the hardest negative that counts where that does not. Both need
    ``samples`` (B, V, 3) set before each step: record, item of the negative, objective.

    After a training step ``stats`` holds, as tensors and of this rank, ``negatives`` and ``masked`` (means per query),
    ``temperature``, with several views ``queries`` (per triplet), with alignment ``intra``, its part of the loss, and
    ``intra_temperature``, and with a filter ``kept``, the share of queries with s = 1. Raises ValueError for columns or
    labels of another shape, for samples that are needed and not set, and for arguments out of range.
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
        intra: float = 0.0,
        objective_weights: ObjectiveWeights | None = None,
        sample_filter: SampleFilter | None = None,
    ) -> None:
        super().__init__()
        if objective not in OBJECTIVES:
            raise ValueError(f"objective is {objective!r}; choose one of {', '.join(OBJECTIVES)}")
        if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
            raise ValueError(f"temperature is {temperature}; choose one within {TEMPERATURES[0]} and {TEMPERATURES[1]}")
        counts = (accumulation, *dims) if mini_batch_size is None else (accumulation, mini_batch_size, *dims)
        if min(past_batches, memory_warmup, intra) < 0 or min(counts) < 1:
            raise ValueError(
                "past_batches, memory_warmup and intra may not be negative, nor mini_batch_size, accumulation and dims "
                f"be below 1; got {past_batches}, {memory_warmup}, {intra}, {mini_batch_size}, {accumulation} and "
                f"{list(dims)}"
            )
        self.model = model
        self.objective = OBJECTIVES[objective]
        self.margin, self.spatial, self.dims, self.accumulation = margin, spatial, tuple(dims), accumulation
        self.hard_negatives = hard_negatives
        self.uses_gradient_cache = mini_batch_size is not None
        self.mini_batch_size = mini_batch_size or 0
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.alignment = Alignment(intra, temperature, self.dims) if intra else None
        self.objective_weights, self.sample_filter = objective_weights, sample_filter
        self.samples: Tensor | None = None
        self.memory = Memory(past_batches, memory_warmup)
        self.stats: dict[str, Tensor] = {}
        self._experts = [module for module in model.modules() if isinstance(module, GuidedExperts)]
        self._rows = 0
        self._waiting: list[tuple[nn.Parameter, Tensor]] = []

    @property
    def temperature(self) -> Tensor:
        """A scalar with gradient."""
        return self.log_temperature.exp()

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Features of the columns and keys (B, columns, K) to the mean loss of this rank's triplets, a scalar."""
        features, columns = list(sentence_features), self._columns(labels)
        columns.check(len(features))
        weighs = self.objective_weights is not None or self.sample_filter is not None
        if weighs and self.training and self.samples is None:
            raise ValueError("objective_weights and sample_filter need samples; set them before each step")
        with torch.no_grad():  # moved, not only cut off: outside its limits the parameter would get no gradient
            for parameter in self._log_temperatures():
                parameter.clamp_(*map(math.log, TEMPERATURES))
        features = [own for own, place in zip(features, columns.given, strict=True) if place in columns.used]
        self._rows = sum(len(column["input_ids"]) for column in features)
        if not self.uses_gradient_cache:
            return self.calculate_loss([[self._embed(column)] for column in features], labels)
        loss = self.forward_cached(features, labels)
        for parameter, gradient in self._waiting:
            loss = loss + ((parameter - parameter.detach()) * gradient).sum()
        self._waiting = []
        return loss

    def _columns(self, labels: Tensor) -> Columns:
        return Columns(labels, hard_negatives=self.hard_negatives, intra=self.alignment is not None)

    def _log_temperatures(self) -> list[nn.Parameter]:
        return [self.log_temperature, *([self.alignment.log_temperature] if self.alignment is not None else [])]

    def _embed(self, column: dict[str, Tensor]) -> Tensor:
        self._weigh_balance(len(column["input_ids"]))
        with self._routing() as found:
            embeddings = self.model(column)["sentence_embedding"]
        return self._with_all_parameters(beside(embeddings, found))

    def _routing(self) -> AbstractContextManager[list[Tensor]]:
        """Collects the routing of a call, which travels beside its embeddings, where objectives are weighed."""
        if self.objective_weights is None:
            return nullcontext([])
        return sample_routing(self._experts, gradient=self.objective_weights.trains_routers)

    def embed_minibatch(
        self, sentence_feature: dict[str, Tensor], begin: int, end: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, RandContext | None]:
        """Also tells the experts what share of the step's rows this call has."""
        self._weigh_balance(end - begin)
        with self._routing() as found:
            embeddings, random_state = super().embed_minibatch(sentence_feature, begin, end, *args, **kwargs)
        return self._with_all_parameters(beside(embeddings, found)), random_state

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """The loss from embeddings, per column in mini-batches; ``with_backward`` as gradient caching asks for it."""
        columns = self._columns(cast(Tensor, labels))
        embedded = columns.embedded(reps)
        parameters = [*self._log_temperatures(), *([self.objective_weights.matrix] if self.objective_weights else [])]
        leaves: list[Tensor] = [*parameters]
        if with_backward:  # their gradients wait for the backward pass of the returned loss, as the embeddings' do
            leaves = [parameter.detach().requires_grad_() for parameter in parameters]
        with torch.autocast(embedded[0].device.type, enabled=False):
            loss = self._total(columns, embedded, leaves)
        if with_backward:
            loss.backward()
            found = zip(parameters, leaves, strict=True)
            self._waiting = [(parameter, leaf.grad) for parameter, leaf in found if leaf.grad is not None]
        return loss.detach() if with_backward else loss

    def _total(self, columns: Columns, embedded: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
        """Inter-product loss of the query views, and intra-product alignment where that is on.

        ``parameters``: the temperatures' logarithms, then W* where objectives are weighed.
        """
        training = self.training and torch.is_grad_enabled()
        spatial = training and self.spatial
        log_temperatures = [averaged(one) if training and not spatial else one for one in parameters]
        weights, penalty = None, embedded[0].new_zeros(())
        if self.objective_weights is not None:
            embedded, routing = apart(embedded, len(self.objective_weights.matrix))
            if training:
                asked, matrix = columns.queries(routing), averaged(parameters[-1])
                objectives = self._samples_of(asked)[:, 2]
                weights, penalty = self.objective_weights(asked.vectors, objectives, matrix, self.memory.seen)
        loss = self._contrast(columns, embedded, log_temperatures[0], weights) + (penalty - penalty.detach())
        if self.alignment is not None and (products := columns.products(embedded)) is not None:
            intra = self.alignment(products, columns.batch, log_temperatures[1], spatial=spatial)
            loss = loss + intra
            if training:
                self.stats |= {"intra": intra.detach(), "intra_temperature": log_temperatures[1].detach().exp()}
        return loss

    def _contrast(
        self, columns: Columns, embedded: Sequence[Tensor], log_temperature: Tensor, weights: Tensor | None
    ) -> Tensor:
        """Queries against their own documents, B of each column, and those of other ranks and past batches."""
        queries, batch, training = columns.queries(embedded), columns.batch, self.training and torch.is_grad_enabled()
        (documents, keys), first = columns.documents(embedded), 0
        if training and self.spatial:
            documents, keys, log_temperature, first = gather(documents, keys, log_temperature)
        past, past_keys = self.memory.recall(documents, keys) if training else (documents[:0], keys[:0])
        temperature = log_temperature.exp()
        pool = Documents(documents, past, torch.cat([keys, past_keys]), first)

        rows = max(1, SIMILARITIES // len(pool.keys))
        compare = self._compare
        if torch.is_grad_enabled() and rows < len(queries):
            compare = partial(checkpoint, self._compare, use_reentrant=False, preserve_rng_state=False)
        pieces = [compare(piece, pool, batch, temperature) for piece in queries.split(rows)]
        losses, masked, positives, negatives = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        if training:
            left_out = masked.float().mean()
            self.stats = {
                "negatives": len(pool.keys) - 1 - left_out,
                "masked": left_out,
                "temperature": temperature.detach(),
            }
            if columns.views > 1:
                self.stats["queries"] = torch.tensor(len(queries) / batch)
            if weights is not None:
                losses = losses * weights
            if self.sample_filter is not None:
                trust = self.sample_filter(positives, negatives, self.memory.seen, self._samples_of(queries)[:, :2])
                losses = losses * trust
                self.stats["kept"] = (trust == 1).float().mean()
            self.memory.add(documents, keys)
        return losses.mean() * (len(queries) / batch)

    def _compare(
        self, queries: Queries, pool: Documents, batch: int, temperature: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each query (q,): its loss, the number of its false negatives, its cosine with the positive, and with the
        own hard negative, or the hardest of all where that does not count."""
        rows = torch.arange(len(queries), device=queries.vectors.device)
        own = pool.first + queries.triplet
        width = queries.vectors.shape[1]
        similarities = pool.similarities(queries.vectors, width)
        scores = similarities.detach()
        left_out = share_a_key(queries.keys, pool.keys)
        if self.margin is not None:
            left_out |= scores > scores[rows, own, None] + self.margin
        also_right = queries.also_right | (not self.hard_negatives)
        if self.hard_negatives:
            left_out[rows, own + batch] = also_right
        left_out[rows, own] = True  # the positive itself is no negative
        hardest = scores.masked_fill(left_out, -torch.inf).amax(dim=1)
        losses = []
        for dim in (width, *(dim for dim in self.dims if dim < width)):
            cut = similarities if dim == width else pool.similarities(queries.vectors, dim)
            losses.append(self.objective(cut[rows, own, None], cut, left_out, temperature))
        return (
            torch.stack(losses).mean(dim=0),
            left_out.sum(dim=1) - 1,
            scores[rows, own],
            hardest if not self.hard_negatives else hardest.where(also_right, scores[rows, own + batch]),
        )

    def _samples_of(self, queries: Queries) -> Tensor:
        """What ``samples`` says of each query, (Q, 3); the item is -1 where it is not the negative that is compared."""
        samples = cast(Tensor, self.samples)[queries.triplet, queries.view]
        samples[:, 1].masked_fill_(queries.also_right | (not self.hard_negatives), -1)
        return samples

    def _with_all_parameters(self, embeddings: Tensor) -> Tensor:
        """The same embeddings, of which every trained parameter is a part, with gradient 0 if it was not used.

        DistributedDataParallel waits for all of them, and an expert without tokens would never answer.
        """
        if not isinstance(self.model, DistributedDataParallel) or not embeddings.requires_grad:
            return embeddings
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return embeddings + 0.0 * torch.stack([parameter.view(-1)[0].float() for parameter in parameters]).sum()

    def _weigh_balance(self, rows: int) -> None:
        """``rows``: of the next model call, a share of those of all columns.

        Left as it is after the call, since gradient checkpointing computes the layers again in the backward pass.
        """
        for experts in self._experts:
            experts.balance_scale = rows / self._rows / self.accumulation
