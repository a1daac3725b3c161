"""One stage of a run through the trainer: prepare the model, train what the stage trains, keep its best state."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainingArguments

from app.moon.load import moon_model
from app.moon.transformer import MoonTransformer
from trainer.data.record import MODALITIES
from trainer.losses.filtering import SampleFilter
from trainer.losses.moon import MoonLoss
from trainer.losses.objectives import ObjectiveWeights
from trainer.losses.view_chances import ViewChances
from trainer.training.batches import BrokenPictures, Encoding, MapEncoding, TripletCollator
from trainer.training.expert_load import ExpertLoad
from trainer.training.plan import Plan
from trainer.training.presets import Stage
from trainer.training.resume import last_checkpoint
from trainer.training.trainer import MoonTrainer, load_safely, load_trained_parameters, save_safely
from trainer.training.triplets import TripletSource
from trainer.training.validation import DevRecall
from trainer.training.warmup import idle_in_skip_stage, without_decoder

logger = logging.getLogger(__name__)

FINAL, PREPARED, HISTORY = "final.safetensors", "prepared.safetensors", "history.json"
WARM_UP, WEIGHT_DECAY, MAX_GRADIENT = 0.05, 0.01, 1.0
"""Share of the steps over which the learning rate rises (paper), and the optimiser's usual values."""
SPARSITY_START, MATRIX_RATE = 0.1, 0.03
"""Share of the steps before experts are to keep to one objective, and the learning rate of W* (our decisions)."""
READ_AHEAD = 2
"""Batches that a reading process, and the trainer itself, may be ahead of the step that learns."""
LOGS = 100
"""Log entries of a stage, at least one every tenth step of a short one."""


@dataclass
class Workshop:
    """What the stages of a run share; ``folder`` keeps what a crash must not lose."""

    module: MoonTransformer
    plan: Plan
    source: TripletSource
    encoding: Encoding
    validation: DevRecall
    broken: BrokenPictures
    folder: Path
    trainable: frozenset[str]
    """Names of the parameters that the run trains in its main stage."""


def run_stage(
    shop: Workshop, stage: Stage, prepare: Callable[[], None] = lambda: None, prepared: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Train a stage to its end, from its last checkpoint if it was interrupted; returns its log.

    The model ends in its best state by development recall. ``prepare`` changes parameters before the first step; those
    that ``prepared`` names are kept, so that a resumed stage starts from the same ones.
    Raises FloatingPointError for a loss that is not a number.
    """
    folder = shop.folder / stage.name
    select_trained(shop, stage)
    _prepare_once(shop.module, folder / PREPARED, prepare, prepared)
    with _decoder(shop, stage):
        if (folder / FINAL).exists():
            load_trained_parameters(moon_model(shop.module), folder / FINAL)
            return json.loads((folder / HISTORY).read_text())
        trainer = _trainer(shop, stage, folder)
        last = last_checkpoint(folder, sharded=trainer.is_fsdp_enabled)
        if last is not None:
            logger.info("stage %s goes on from %s", stage.name, last)
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        history = [{"stage": stage.name, **entry} for entry in trainer.state.log_history]
        trained = trainer.trained_state()
        if trainer.is_world_process_zero():
            (folder / HISTORY).write_text(json.dumps(history))
            save_safely(trained, folder / FINAL)
        trainer.accelerator.wait_for_everyone()
    return history


def _decoder(shop: Workshop, stage: Stage) -> AbstractContextManager[None]:
    """The skip path's own stage, of kept maps, goes without the decoder."""
    if stage.name == "skip" and isinstance(shop.encoding, MapEncoding):
        return without_decoder(shop.module, shop.encoding)
    return nullcontext()


def select_trained(shop: Workshop, stage: Stage) -> None:
    """Let the stage's parameters require a gradient, and no others."""
    left_out = [*shop.plan.preset.frozen, *(idle_in_skip_stage(shop.module) if stage.name == "skip" else ())]
    for name, parameter in shop.module.model.named_parameters():
        wanted = name in shop.trainable and not any(re.search(pattern, f".{name}") for pattern in left_out)
        parameter.requires_grad_(wanted)


def _prepare_once(module: MoonTransformer, file: Path, prepare: Callable[[], None], names: Sequence[str]) -> None:
    """Prepare the model, or read what an earlier start of the same stage made of it."""
    state = module.model.state_dict()
    if file.exists():
        module.model.load_state_dict(load_safely(file), strict=False)
        return
    prepare()
    if names:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_safely({name: state[name] for name in names}, file)


def _trainer(shop: Workshop, stage: Stage, folder: Path) -> MoonTrainer:
    plan, config = shop.plan, shop.plan.config
    model = moon_model(shop.module)
    steps = stage.steps or 0
    extended = "extended-negatives" not in config.without
    objective_weights = _objective_weights(shop, stage)
    loss = MoonLoss(
        model,
        objective=config.objective,
        past_batches=plan.past_batches,
        memory_warmup=round(WARM_UP * steps),
        spatial=config.spatial and extended,
        hard_negatives=extended,
        dims=plan.dims,
        mini_batch_size=config.mini_batch,
        intra=config.intra,
        objective_weights=objective_weights,
        sample_filter=SampleFilter(steps) if config.filtering and stage.name == "all" else None,
    )
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(shop.folder.parent / "tensorboard" / stage.name)
    every = plan.validate_every[stage.name]
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=stage.batch,
        dataloader_drop_last=True,
        dataloader_num_workers=plan.workers,
        learning_rate=stage.lr,
        learning_rate_mapping=_rates(loss, plan, stage),
        lr_scheduler_type="cosine",
        warmup_steps=WARM_UP,
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=MAX_GRADIENT,
        bf16=plan.bf16,
        use_cpu=plan.device == "cpu",
        seed=config.seed,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{shop.validation.metric}",
        greater_is_better=True,
        logging_strategy="steps",
        logging_steps=max(1, steps // LOGS),
        logging_first_step=True,
        report_to=[tracker.strip() for tracker in config.track.split(",")],
        ddp_find_unused_parameters=False,
        disable_tqdm=not sys.stderr.isatty(),
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one process uses one GPU; more are for more processes
    draws = steps * stage.batch * plan.world
    return MoonTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"number": np.arange(draws)}),
        loss=loss,
        evaluator=shop.validation,
        data_collator=TripletCollator(
            source=shop.source,
            encoding=shop.encoding,
            broken=shop.broken,
            chances=None if objective_weights is None else objective_weights.chances,
            fill=plan.world > 1,
        ),
        expert_load=ExpertLoad(shop.module),
        pass_steps=Fraction(shop.source.records, stage.batch * plan.world),
    )


def _objective_weights(shop: Workshop, stage: Stage) -> ObjectiveWeights | None:
    """None where all weigh the same, and in stages that train no expert."""
    plan, config, steps = shop.plan, shop.plan.config, stage.steps or 0
    if config.objective_weights == "uniform" or stage.name != "all":
        return None
    chances = None
    if config.views == "budget":
        chances = ViewChances(steps, len(MODALITIES), stage.batch * plan.world, READ_AHEAD * (plan.workers + 1))
    start, experts = round(SPARSITY_START * steps), shop.module.moon.free_experts
    return ObjectiveWeights(experts, len(MODALITIES), config.objective_weights, config.sparsity, start, chances)


def _rates(loss: MoonLoss, plan: Plan, stage: Stage) -> dict[str, float]:
    """Learning rates by parameter name for the preset's patterns that this stage trains, and for W*."""
    names = [name for name, parameter in loss.named_parameters() if parameter.requires_grad]
    rates = {pattern: rate * stage.lr for pattern, rate in plan.preset.rates.items()}
    rates[r"objective_weights\.matrix"] = MATRIX_RATE
    return {pattern: rate for pattern, rate in rates.items() if any(re.search(pattern, name) for name in names)}
