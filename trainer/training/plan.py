"""From wishes, preset, data and machine to the settings of a run, each with the reason for it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from app.errors import BadInputError
from trainer.training.config import PARTS, FitConfig
from trainer.training.presets import PRESETS, Preset, Stage
from trainer.training.triplets import Dropout, Recipe

logger = logging.getLogger(__name__)

MATRYOSHKA = (1024, 512, 256, 128, 64)
"""Widths that are trained beside the full one where ``dims`` is "auto" (as MOON Embedding)."""
STEPS = {"tower": "tower_steps", "boxes": "box_steps", "looks": "looks_steps", "skip": "skip_steps"}
"""Which wish is that for the steps of one of the starter's stages."""
LARGE = 1_000_000_000
"""Parameters from which memory decides: half precision, gradient checkpointing."""


@dataclass
class Plan:
    """Settings of a run; ``reasons`` says of each derived one why it is what it is."""

    config: FitConfig
    preset: Preset
    model: str
    device: str
    world: int
    bf16: bool = False
    weights: torch.dtype = torch.float32
    lora_rank: int = 0
    gradient_checkpointing: bool = False
    attention: str | None = None
    workers: int = 0
    dims: tuple[int, ...] = ()
    past_batches: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    stages: list[Stage] = field(default_factory=list)
    validate_every: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def choose(self, name: str, value: Any, reason: str) -> None:
        """Set a field, remember the reason and log both."""
        setattr(self, name, value)
        self.note(name, value, reason)

    def note(self, name: str, value: Any, reason: str) -> None:
        self.reasons[name] = (str(value).removeprefix("torch."), reason)
        logger.info("%s: %s (%s)", name, str(value).removeprefix("torch."), reason)


def make_plan(config: FitConfig, model: str, records: int, parameters: int, width: int, world: int) -> Plan:
    """Derive what ``config`` leaves open.

    ``records`` is the number of training records, ``parameters`` and ``width`` the size of the model and its vectors,
    ``world`` the number of processes. Raises BadInputError for wishes that cannot be fulfilled.
    """
    preset = preset_of(config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(config, preset, model, device, world)
    _check_parts(plan)
    plan.note("device", device, "a CUDA GPU was found" if device == "cuda" else "no CUDA GPU was found")
    if device == "cuda" and world == 1 and (found := torch.cuda.device_count()) > 1:
        plan.note("processes", 1, f"{found} GPUs were found; to use all: accelerate launch -m trainer fit ...")
    _precision(plan, parameters)
    if config.lora_rank is not None:
        plan.choose("lora_rank", config.lora_rank, "asked for")
    else:
        plan.choose("lora_rank", preset.lora_rank, f"preset {config.preset}; 0 is full fine-tuning")
    _memory(plan, parameters)
    cores = os.cpu_count() or 1
    if config.workers is not None:
        plan.choose("workers", config.workers, "asked for")
    elif device == "cpu":
        plan.choose("workers", 0, "on a CPU workers would only take cores from the model")
    else:
        plan.choose("workers", min(8, max(1, cores // world)), f"{cores} cores for {world} processes, at most 8 each")
    if "extended-negatives" in config.without:
        plan.choose("past_batches", 0, "without extended-negatives")
    elif config.past_batches is not None:
        plan.choose("past_batches", config.past_batches, "asked for")
    else:
        plan.choose("past_batches", preset.past_batches, f"preset {config.preset}; the paper has 2")
    plan.choose("dims", _dims(config.dims, width), "widths that are trained beside the full one")
    mixture = preset.mixture if config.mixture is None else config.mixture
    plan.recipe = Recipe(
        _mixture(mixture),
        config.sibling_share,
        preset.augment,
        _dropout(config.without),
        config.views,
        intra=config.intra > 0,
    )
    _joint_learning(plan)
    plan.stages = [_stage(plan, stage, records) for stage in preset.stages]
    return plan


def preset_of(config: FitConfig) -> Preset:
    """Raises BadInputError for a name that is none."""
    if config.preset not in PRESETS:
        raise BadInputError(f"there is no preset {config.preset!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[config.preset]


def _check_parts(plan: Plan) -> None:
    without = plan.config.without
    if unknown := [name for name in without if name not in PARTS]:
        raise BadInputError(f"--without {unknown[0]}: there is no such part; choose of {', '.join(PARTS)}.")
    if without:
        plan.note("without", ", ".join(without), "asked for")


def _joint_learning(plan: Plan) -> None:
    """Note what MOON2.0 adds to MOON, where it is asked for."""
    if plan.config.views != "mixture":
        plan.note("views", plan.config.views, "asked for; MOON has mixture")
    if plan.config.intra:
        plan.note("intra", f"{plan.config.intra:g}", "asked for; MOON has 0")
    if plan.config.objective_weights != "uniform":
        plan.note("objective_weights", plan.config.objective_weights, "asked for; MOON has uniform")
    elif plan.config.sparsity:
        raise BadInputError(
            f"--sparsity {plan.config.sparsity:g} is for experts that belong to objectives; add --objective-weights "
            "balanced or literal, or leave it out."
        )
    if plan.config.filtering:
        plan.note("filtering", "on", "asked for; MOON has none")


def _dropout(without: Sequence[str]) -> Dropout:
    """How often fields are left out; without core crops, these always."""
    dropout = Dropout(0.0, 0.0, 0.0, 0.0, 0.0) if "field-dropout" in without else Dropout()
    return replace(dropout, crop=1.0, whole=0.0) if "core-crop" in without else dropout


def _precision(plan: Plan, parameters: int) -> None:
    wish = plan.config.precision
    able = plan.device == "cuda" and torch.cuda.is_bf16_supported()
    if wish != "auto":
        plan.choose("bf16", wish == "bf16", "asked for")
    else:
        plan.choose("bf16", able, "the GPU computes in bfloat16" if able else "only recent GPUs gain from bfloat16")
    lora = plan.config.lora_rank if plan.config.lora_rank is not None else plan.preset.lora_rank
    if plan.bf16 and lora and parameters >= LARGE:
        plan.choose("weights", torch.bfloat16, "frozen weights need no more; what is trained stays in float32")
    else:
        plan.choose("weights", torch.float32, "small updates are lost in bfloat16 weights")


def _memory(plan: Plan, parameters: int) -> None:
    wish = plan.config.gradient_checkpointing
    if wish is not None:
        plan.choose("gradient_checkpointing", wish, "asked for")
    else:
        large = parameters >= LARGE
        plan.choose("gradient_checkpointing", large, f"{parameters / 1e9:.2f} billion parameters")
    if plan.device == "cuda":
        plan.choose("attention", "sdpa", "part of torch, and fast on every recent GPU")


def _stage(plan: Plan, stage: Stage, records: int) -> Stage:
    """The main stage as wished, or long enough for the epochs; validation some ten times."""
    config, reason = plan.config, f"preset {plan.config.preset}"
    if stage.name == "all":
        stage = replace(
            stage,
            batch=stage.batch if config.batch is None else config.batch,
            lr=stage.lr if config.lr is None else config.lr,
        )
        if config.steps is not None:
            stage, reason = replace(stage, steps=config.steps), "asked for"
        elif stage.steps is None:
            steps = max(1, round(records * config.epochs / (stage.batch * plan.world)))
            stage = replace(stage, steps=steps)
            reason = f"{config.epochs:g} epochs of {records} records in batches of {stage.batch} x {plan.world}"
    elif stage.name == "boxes" and "core-crop" in config.without:
        stage, reason = replace(stage, steps=0), "without core-crop"
    elif (steps := getattr(config, STEPS[stage.name])) is not None:
        stage, reason = replace(stage, steps=steps), "asked for"
    plan.note(f"stage {stage.name}", f"{stage.steps} steps of {stage.batch}, lr {stage.lr:g}", reason)
    taken = stage.steps or 0
    plan.validate_every[stage.name] = min(taken, config.validate_every or min(500, max(1, -(-taken // 10)))) or 1
    return stage


def _dims(wish: str, width: int) -> tuple[int, ...]:
    if wish == "auto":
        return tuple(dim for dim in MATRYOSHKA if dim < width)
    try:
        dims = tuple(int(part) for part in wish.split(",") if part.strip())
    except ValueError:
        raise BadInputError(f"--dims {wish!r} is no list of numbers; write for example 512,256,128 or auto.") from None
    if any(not 0 < dim <= width for dim in dims):
        raise BadInputError(f"--dims {wish!r}: the model's vectors have {width} dimensions; name smaller ones.")
    return dims


def _mixture(wish: str) -> tuple[float, float, float]:
    try:
        weights = tuple(float(part) for part in wish.split(":"))
    except ValueError:
        weights = ()
    if len(weights) != 3 or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise BadInputError(f"--mixture {wish!r} must weigh image, text and image+text queries, for example 12:3:2.")
    return weights[0], weights[1], weights[2]
