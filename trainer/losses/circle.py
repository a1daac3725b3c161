"""Circle loss (Sun et al. 2020, eq. 6), the objective of MOON Embedding."""

from __future__ import annotations

from torch import Tensor

from trainer.losses.infonce import infonce

RELAXATION = 0.25
"""m of the paper: similarities are to pass 1 - m for positives and stay below m for negatives."""


def circle(positives: Tensor, negatives: Tensor, left_out: Tensor, temperature: Tensor) -> Tensor:
    """L = log(1 + sum over n e^{g a_n (s_n - m)} e^{-g a_p (s_p - 1 + m)}), a_p = [1 + m - s_p]+, a_n = [s_n + m]+.

    With the one positive a query has, that is InfoNCE over re-weighted similarities. Arguments and result as
    :func:`infonce`. Our decision: the scale g is 1 / temperature, so it is learned within the temperature's limits.
    """
    positive_weights = (1 + RELAXATION - positives.detach()).clamp(min=0)
    negative_weights = (negatives.detach() + RELAXATION).clamp(min=0)
    return infonce(
        positive_weights * (positives - 1 + RELAXATION),
        negative_weights * (negatives - RELAXATION),
        left_out,
        temperature,
    )
