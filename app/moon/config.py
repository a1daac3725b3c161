"""What makes a base model a MOON model; saved as ``moon`` inside the checkpoint's ``config.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.errors import ModelError

TEMPLATE_VERSION = 2
"""Raised whenever vectors of the same weights change, by the prompt or by what is made of the output; part of the
fingerprint."""


@dataclass(frozen=True)
class MoonConfig:
    """Guided experts (paper, eq. 4), pooling and core product detection. Defaults follow the paper where it speaks.

    ``experts`` counts the two reserved ones (category, attribute); ``guided=False`` reserves none, and all are free for
    every token, to see what guidance brings. ``expert_rank=None`` copies the whole FFN per expert (paper); a number
    keeps one shared FFN and gives each expert a low-rank update (our decision, for 3B backbones).
    ``renormalise=False`` is the paper's literal form, in which the weights of inactive experts are lost.
    ``pooling`` is ``mean`` over visual and text content (our reading), ``mean_all`` over every token (paper, literal),
    ``last``, or ``segments``: the mean of each segment at unit length, joined by learned weights, so that four words
    of title are not drowned by dozens of visual tokens (our decision, for small LLMs). ``skip`` adds a linear path
    from the LLM's input embeddings to its output, gated per channel (our decision, for small LLMs that would otherwise
    bury what the vision tower knew), ``picture_dims`` lets it take pictures from statistics of the tower's stages, for
    whose looks the vector has so many dimensions beyond the LLM's, and in training leaves a share ``picture_dropout``
    of them out.
    ``box_head`` adds the learned core product detector (our decision).
    """

    experts: int = 4
    top_k: int = 2
    guided: bool = True
    expert_rank: int | None = None
    moe_layers: Literal["all", "upper_half_alternate"] = "all"
    renormalise: bool = True
    balance: float = 0.01
    pooling: Literal["mean", "mean_all", "last", "segments"] = "mean"
    attention: Literal["causal", "bidirectional"] = "causal"
    skip: bool = False
    picture_dims: int = 0
    picture_dropout: float = 0.0
    box_head: bool = False

    def __post_init__(self) -> None:
        if self.experts < 3:
            raise ValueError(f"experts={self.experts}: at least 3 are needed, two of them are reserved")
        if not 1 <= self.top_k <= self.experts - 2:
            raise ValueError(f"top_k={self.top_k}: must be between 1 and the {self.experts - 2} free experts")
        if self.picture_dims and not self.skip:
            raise ValueError(f"picture_dims={self.picture_dims} needs skip=True: they are filled by the skip path")

    @property
    def free_experts(self) -> int:
        """How many experts any token may use; they come first."""
        return self.experts - 2 if self.guided else self.experts

    @classmethod
    def of(cls, config: Any) -> MoonConfig:
        """The ``moon`` part of a checkpoint's configuration. Raises ModelError if this version cannot read it."""
        try:
            return cls(**config.moon)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"the checkpoint's MOON configuration cannot be read ({error}); update this software or the checkpoint."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
