"""What a training run is asked for; free of heavy imports, so that the command line can show its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Objective = Literal["infonce", "circle"]
Views = Literal["mixture", "joint", "budget"]
Weighing = Literal["uniform", "literal", "balanced"]
Precision = Literal["auto", "bf16", "fp32"]
PARTS = ("core-crop", "guided-experts", "extended-negatives", "field-dropout")
"""What a run can go without, to see what each brings."""


@dataclass(frozen=True)
class FitConfig:
    """The wishes of whoever starts a run; what is None is derived (see :mod:`trainer.training.plan`) and logged.

    ``steps``, ``batch`` and ``lr`` are the main stage's, ``skip_steps``, ``looks_steps``, ``box_steps`` and
    ``tower_steps`` those of the starter's other stages. ``batch`` counts triplets per process and step, ``mini_batch``
    is the size of the gradient-cached parts of it, ``mixture`` weighs image, text and image+text queries (None: as the
    preset), ``past_batches`` is the k of the temporal negatives, ``lora_rank`` 0 stands for full fine-tuning,
    ``sibling_share`` is how often the hard negative is another SKU of the positive's model instead of another product
    of its category, ``augmented_share`` how often products show titles, and pictures, of the folder ``augmented``,
    ``views`` is how a triplet is asked (as the mixture says, in all ways at once, or in one of them), ``intra`` weighs
    the alignment of a product's pictures with its words (0: none), ``without`` names those of ``PARTS`` that are left
    out. ``objective_weights`` says how query modalities are weighed by the experts they use, ``sparsity`` is the weight
    of the entropy of experts' objectives, ``filtering`` lets dubious samples count less.
    """

    preset: str = "starter"
    model: str | None = None
    steps: int | None = None
    skip_steps: int | None = None
    looks_steps: int | None = None
    box_steps: int | None = None
    tower_steps: int | None = None
    epochs: float = 1.0
    batch: int | None = None
    mini_batch: int | None = None
    lr: float | None = None
    lora_rank: int | None = None
    train_tower: bool = False
    precision: Precision = "auto"
    gradient_checkpointing: bool | None = None
    objective: Objective = "infonce"
    past_batches: int | None = None
    spatial: bool = True
    mixture: str | None = None
    views: Views = "mixture"
    intra: float = 0.0
    objective_weights: Weighing = "uniform"
    sparsity: float = 0.0
    filtering: bool = False
    sibling_share: float = 0.0
    without: tuple[str, ...] = ()
    mined: Path | None = None
    augmented: Path | None = None
    augmented_share: float = 0.5
    boxes: Path | None = None
    dims: str = ""
    validate_every: int | None = None
    workers: int | None = None
    feature_cache: bool | None = None
    track: str = "tensorboard"
    seed: int = 0
