"""Intra-product alignment, the inner level of MOON2.0's dual-level alignment."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trainer.losses.columns import FILLER
from trainer.losses.infonce import infonce
from trainer.losses.negatives import gather, share_a_key, unit


class Alignment(nn.Module):
    """L_intra: a product's pictures are to find its own words among those of other products, and words pictures.

    InfoNCE over the products of the step on all ranks. Our decisions: both directions weigh the same; products that
    share a key (id, model, title) are no negatives of each other; the temperature is learned, as that of the queries
    but apart from it; past batches take no part; the mean is over all triplets of the batch, so that a product which
    lacks pictures or words counts as 0.

    ``weight`` multiplies the loss, ``dims`` are further widths as those of the queries' loss.
    """

    def __init__(self, weight: float, temperature: float, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.weight, self.dims = weight, dims
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(
        self, products: tuple[Tensor, Tensor, Tensor], batch: int, log_temperature: Tensor, *, spatial: bool
    ) -> Tensor:
        """Pictures and words of products (n, d) with keys (n, K), of a batch of B triplets, to a scalar.

        Rows whose first key is ``FILLER`` count nowhere. ``spatial`` takes in the products of other ranks, of which
        each must have as many rows.
        """
        pictures, words, keys = products
        both, all_keys, first = torch.cat([pictures, words], dim=1), keys, 0
        if spatial:
            both, all_keys, log_temperature, first = gather(both, keys, log_temperature)
        temperature, width = log_temperature.exp(), pictures.shape[1]
        all_pictures, all_words = both.split(width, dim=1)
        rows = torch.arange(len(keys), device=keys.device)
        left_out = share_a_key(keys, all_keys) | (all_keys[:, 0] == FILLER)
        left_out[rows, first + rows] = True  # the product itself is no negative
        losses = []
        for dim in (width, *(dim for dim in self.dims if dim < width)):
            for queries, documents in ((pictures, all_words), (words, all_pictures)):
                similarities = unit(queries, dim) @ unit(documents, dim).T
                own = similarities[rows, first + rows, None]
                losses.append(infonce(own, similarities, left_out, temperature))
        return self.weight * torch.stack(losses).mean(dim=0)[keys[:, 0] != FILLER].sum() / batch
