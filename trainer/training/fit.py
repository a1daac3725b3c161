"""Train a MOON checkpoint on the home-goods set: box head, then the skip path alone, then everything.

The vision tower stays frozen and its feature maps are computed once. The skip path costs a fraction of the LLM, so it
is trained first and long; the LLM then learns what to add through its gate (our decision for a laptop).
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from app.errors import ModelError
from app.moon.fingerprint import checkpoint_folder
from app.moon.load import load_module, moon_model, save_moon
from app.moon.tower import EfficientNetLiteModel
from app.moon.transformer import MoonTransformer
from trainer.data.home import HomeSet
from trainer.data.leakage import check_held_out, split_record
from trainer.data.views import TowerMaps, View
from trainer.losses.infonce import InfoNCE
from trainer.training.collate import Collator, MapTower
from trainer.training.config import FitConfig
from trainer.training.detector import fit_box_head
from trainer.training.examples import Example, Input, TripletSampler, false_negatives
from trainer.training.plot import plot_run
from trainer.training.validate import Validation, in_length_order
from trainer.training.warmup import BagOfEmbeddings, standardise_llm

logger = logging.getLogger(__name__)

RATES = (("moon_skip.gate", 10.0), ("embed_tokens", 0.1), ("self_attn", 0.5), ("norm", 0.5))
"""Learning rate of a parameter relative to the stage's own, by the first part of its name that fits."""
FROZEN = (".mlp.shared.", "projector.linear_1", "moon_skip.centre", "moon_skip.spread")
"""Never trained: shared FFNs (our decision), what is measured, and a matrix too finely scaled for these rates."""
NOT_IN_SKIP_STAGE = ("language_model.layers", "language_model.norm", "moon_skip.gate")


def fit(checkpoint: str, data: Path, out: Path, config: FitConfig) -> dict[str, float]:
    """Train and write the best checkpoint by dev recall to ``out``, with ``training.json`` and a loss curve.

    Each stage starts over in judging its best, since the LLM is to take part; a checkpoint whose gate is open is not
    warmed up again. Returns the last stage's best recalls. Raises ModelError for another kind of model,
    FloatingPointError for a loss that is not a number.
    """
    torch.manual_seed(config.seed)
    home, module = HomeSet(data), load_module(checkpoint, torch.float32)
    if not isinstance(getattr(module.model, "vision_tower", None), EfficientNetLiteModel):
        raise ModelError(
            f"{checkpoint} is no starter checkpoint; `trainer fit` trains those that `trainer starter` assembles, "
            "an upcycled model can be indexed and searched as it is."
        )
    maps = tower_maps(home, module, out.parent / "cache")
    tokens = maps.pooled(module.model.config.vision_config.grid)
    run = _Run(module, home, tokens, config, out)
    run.before = _record_of(checkpoint)
    if module.moon.box_head and config.box_steps:
        run.box_iou = fit_box_head(module.model.moon_box_head, home, maps, config.box_steps, config.seed)
    gate_closed = module.moon.skip and not module.model.moon_skip.gate.any()
    if config.skip_steps and gate_closed:
        run.bag = BagOfEmbeddings(module, home, tokens)
        run.train(config.skip_steps, config.skip_batch, config.skip_lr, "skip")
    elif config.skip_steps:
        logger.info("no warm-up of the skip path: the LLM's gate is open already")
    if config.steps:
        if gate_closed:
            run.standardise_llm()
        run.train(config.steps, config.batch, config.lr, "all")
    run.finish()
    if (sources := checkpoint_folder(checkpoint) / "sources.json").exists():
        shutil.copy(sources, out)
    return run.best


def tower_maps(home: HomeSet, module: MoonTransformer, cache: Path) -> TowerMaps:
    """Feature maps of every view that training and validation use; no photo that shows a test model."""
    views = [View(path) for p in home.products if p.split != "test" for path in p.product.images]
    for photo in home.photos:
        if photo.split != "test" and not photo.shows_test_model:
            views += [photo.whole, photo.boxed]
            if photo.split == "train":
                frames, crops = photo.variants()
                views += frames + crops
    return TowerMaps.compute(module.model.vision_tower, views, home.root, cache)


def _record_of(checkpoint: str) -> dict[str, Any] | None:
    """What an earlier run wrote of the checkpoint it started from."""
    file = checkpoint_folder(checkpoint) / "training.json"
    return json.loads(file.read_text()) if file.exists() else None


class _Run:
    """One model in training: its log, its best recall and where it is kept."""

    def __init__(self, module: MoonTransformer, home: HomeSet, maps: TowerMaps, config: FitConfig, out: Path) -> None:
        self.module, self.config, self.out = module, config, out
        self.model = moon_model(module)
        self.sampler = TripletSampler(home, config.seed)
        self.collate = Collator(module, maps)
        self.validation = Validation(home)
        check_held_out(home, self.sampler, self.validation)
        self.loss = InfoNCE()
        self.log: list[dict[str, float | str]] = []
        self.best: dict[str, float] = {}
        self.box_iou: float | None = None
        self.before: dict[str, Any] | None = None
        self.bag: BagOfEmbeddings | None = None
        self.tower = module.model.vision_tower

    def train(self, steps: int, batch: int, lr: float, stage: str) -> None:
        """AdamW with warm-up and cosine decay; validates, logs and keeps the best checkpoint."""
        optimizer = torch.optim.AdamW(self._groups(lr, stage), weight_decay=0.01)
        schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
        self.module.model.vision_tower = MapTower()
        started, self.best = time.monotonic(), {}
        for step, examples in zip(range(1, steps + 1), self.sampler.batches(batch), strict=False):
            self.model.train()
            loss = self.step_loss(examples, stage)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss is {loss.item()} at step {step} of stage {stage}; lower the learning rate"
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
            schedule.step()
            entry: dict[str, float | str] = {
                "stage": stage,
                "step": step,
                "loss": loss.item(),
                "temperature": self.loss.temperature.item(),
            }
            if step % 20 == 0 or step == 5:
                logger.info(
                    "%s step %d: loss %.3f, %.2f s per step",
                    stage,
                    step,
                    loss.item(),
                    (time.monotonic() - started) / step,
                )
            if step % self.config.validate_every == 0 or step == steps:
                entry |= self.validate(stage)
            self.log.append(entry)
        self.module.model.vision_tower = self.tower

    def step_loss(self, examples: list[Example], stage: str) -> Tensor:
        """Encode queries, positives and hard negatives and contrast them."""
        inputs = [e.query for e in examples], [e.positive for e in examples] + [e.negative for e in examples]
        queries, documents = (self.embed(column, stage) for column in inputs)
        masked = torch.tensor(false_negatives(examples, self.sampler.products))
        return self.loss(queries, documents, masked)

    def standardise_llm(self) -> None:
        """Before the gate opens: documents of a few batches show what the LLM's output looks like."""
        self.module.model.vision_tower, self.tower = MapTower(), self.module.model.vision_tower
        batches = islice(self.sampler.batches(self.config.batch), 3)
        standardise_llm(self.module.eval(), (self.collate([e.positive for e in batch]) for batch in batches))
        self.module.model.vision_tower = self.tower

    def embed(self, inputs: Sequence[Input], stage: str) -> Tensor:
        """Unit vectors, shape (inputs, width)."""
        if stage == "skip" and self.bag is not None:
            return self.bag(inputs, self.collate)
        return in_length_order(lambda part: self.model(self.collate(part))["sentence_embedding"], inputs, 16)

    def validate(self, stage: str) -> dict[str, float]:
        self.model.eval()
        recalls = self.validation(lambda inputs: self.embed(inputs, stage))
        logger.info("%s validation: %s", stage, {key: round(value, 3) for key, value in recalls.items()})
        if sum(recalls.values()) > sum(self.best.values()):
            self.best = recalls
            self.save(stage)
        return recalls

    def save(self, stage: str) -> None:
        """The checkpoint in bfloat16 with its own tower back in place; training goes on in float32."""
        stand_in, self.module.model.vision_tower = self.module.model.vision_tower, self.tower
        state = {name: tensor.clone() for name, tensor in self.module.model.state_dict().items()}
        save_moon(self.module.to(torch.bfloat16), self.out)
        self.module.to(torch.float32)
        self.module.model.load_state_dict(state)
        self.module.model.vision_tower = stand_in
        record = {
            "config": asdict(self.config),
            "stage": stage,
            "dev": self.best,
            "dev_box_iou": self.box_iou,
            "splits": split_record(self.sampler, self.validation),
            "before": self.before,
        }
        (self.out / "training.json").write_text(json.dumps(record, indent=2) + "\n")

    def finish(self) -> None:
        (self.out / "training.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in self.log))
        plot_run(self.log, self.out / "training.png")

    def _groups(self, lr: float, stage: str) -> list[dict[str, Any]]:
        """Parameters by learning rate; tower, box head and shared FFNs stay frozen, the whole LLM in the skip stage."""
        groups: dict[float, list[nn.Parameter]] = defaultdict(list, {10.0: [self.loss.log_temperature]})
        for name, parameter in self.module.model.named_parameters():
            frozen = name.startswith(("vision_tower", "moon_box_head")) or any(part in name for part in FROZEN)
            frozen = frozen or (stage == "skip" and any(part in name for part in NOT_IN_SKIP_STAGE))
            parameter.requires_grad_(not frozen)
            if not frozen:
                groups[next((rate for part, rate in RATES if part in name), 1.0)].append(parameter)
        return [{"params": parameters, "lr": rate * lr} for rate, parameters in groups.items()]
