"""What a training run depends on; free of heavy imports, so that the command line can show its defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitConfig:
    """Everything a run depends on, saved beside its result. Steps are batches of triplets."""

    seed: int = 0
    box_steps: int = 500
    skip_steps: int = 600
    skip_batch: int = 96
    skip_lr: float = 6e-4
    steps: int = 160
    batch: int = 32
    lr: float = 2e-4
    validate_every: int = 40
