"""A training run from its data to a checkpoint that the indexer reads (paper, sections 5 and 6)."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import load_file

from app.errors import BadInputError
from app.moon.fingerprint import checkpoint_folder
from app.moon.load import moon_model
from app.moon.transformer import MoonTransformer
from app.settings import Settings, read_settings
from trainer.data.augmented import Augmented, augmented_fingerprint
from trainer.data.boxes import BoxCache
from trainer.data.corpus import Corpus
from trainer.data.detect import Format
from trainer.data.leakage import split_record
from trainer.data.mine import MinedNegatives
from trainer.data.open import open_corpus
from trainer.data.pictures import PictureStore
from trainer.data.record import Picture
from trainer.data.shop_log import EVENTS
from trainer.data.splits import TrainingRows, training_rows
from trainer.training.batches import BrokenPictures, Encoding, PixelEncoding
from trainer.training.config import FitConfig
from trainer.training.model import (
    add_lora,
    checkpoint_activations,
    freeze,
    keep_frozen_towers_still,
    model_size,
    open_trainable,
    parameter_counts,
    save_trained,
    unguide,
)
from trainer.training.plan import Plan, make_plan, preset_of
from trainer.training.report import write_report
from trainer.training.resume import RUN, WORK, claimed
from trainer.training.stages import FINAL, Workshop, run_stage
from trainer.training.starter import MAX_VIEWS, Starter, has_small_tower, views_of
from trainer.training.suspects import passes, suspects, write_suspects
from trainer.training.suspects_page import suspects_section
from trainer.training.triplets import FindBox, TripletSource
from trainer.training.validation import DevRecall

logger = logging.getLogger(__name__)

RECORD, COURSE, BROKEN = "training.json", "training.jsonl", "broken.jsonl"
RECALL = re.compile(r"eval_(image|text|both)_r\d+")
PACKAGES = ("moon-search", "torch", "transformers", "sentence-transformers", "accelerate", "peft", "datasets")


def fit(
    data: Path,
    out: Path,
    config: FitConfig,
    *,
    format: Format = "auto",
    log: Path | None = None,
    images: Path | None = None,
    events: Mapping[str, float] = EVENTS,
) -> dict[str, float]:
    """Train on the data set ``data`` and write the best checkpoint by development recall to ``out``.

    A run that was interrupted goes on where it was when it is started again with the same settings. Beside the
    checkpoint stand ``training.json`` (settings with reasons, data, recalls), its course in ``training.jsonl`` and
    ``report.html``, the log for tensorboard, and ``broken.jsonl`` with records whose pictures could not be read.
    Returns the best recalls.

    Raises BadInputError for settings that cannot be fulfilled, CatalogError for data that cannot be read, ModelError
    for a base model that cannot be trained, FloatingPointError for a loss that is not a number.
    """
    state = PartialState(cpu=not torch.cuda.is_available())
    settings = read_settings()
    cache = settings.data / "trainer"
    with state.local_main_process_first():
        corpus = open_corpus(data, cache=cache, format=format, log=log, images=images, events=events)
    split = training_rows(corpus)
    name = config.model or preset_of(config).base or settings.model
    plan = make_plan(config, name, len(split.train), *model_size(name), state.num_processes)
    run = {**asdict(config), "data": corpus.info["fingerprint"], "processes": state.num_processes}
    if config.augmented is not None:
        run["content of augmented"] = augmented_fingerprint(config.augmented)
    with claimed(out, run) if state.is_main_process else nullcontext():
        state.wait_for_everyone()
        torch.manual_seed(config.seed)
        shop, starter = _set_up(corpus, split, plan, settings, out)
        history = _train(shop, starter, split)
        best = best_recalls(history, plan.stages[-1].name, shop.validation.metric)
        if state.is_main_process:
            _publish(shop, starter, split, history, best, out)
        state.wait_for_everyone()
    return best


def _set_up(
    corpus: Corpus, split: TrainingRows, plan: Plan, settings: Settings, out: Path
) -> tuple[Workshop, Starter | None]:
    """The model with what is trained of it, the triplets, and the development queries."""
    config, module = plan.config, trainable_model(plan)
    if plan.gradient_checkpointing:
        checkpoint_activations(module)
    trained, total = parameter_counts(module)
    plan.note(
        "parameters", f"{trained:,} of {total:,}", "LoRA and what MOON adds" if plan.lora_rank else "all unfrozen"
    )
    trainable = frozenset(key for key, parameter in module.model.named_parameters() if parameter.requires_grad)

    find_box = _boxes(config.boxes, corpus)
    mined = MinedNegatives.open(config.mined, corpus) if config.mined else None
    cache = settings.data / "trainer"
    store = PictureStore(cache, settings)
    augmented = _augmented(plan, corpus, split)
    source = TripletSource(corpus, split.train, plan.recipe, config.seed, find_box, mined, store.read, augmented)
    starter = Starter(module, store.read, cache) if _keeps_features(module, plan, source) else None
    encoding: Encoding = starter.encoding if starter else PixelEncoding(module, store.read)
    shown = _no_box if "core-crop" in config.without else find_box
    validation = DevRecall(corpus, split.dev, source.items, encoding, shown, config.seed, plan.stages[-1].batch)
    plan.note(
        "validation",
        f"{len(validation)} queries, {validation.products} products",
        f"drawn from {len(split.dev)} development records; {validation.unreadable} have pictures that cannot be read",
    )
    if not len(validation):
        raise BadInputError(
            f"{corpus.name}: no development query can be read, and a run needs some to find its best; check its "
            "pictures with `trainer validate`."
        )
    broken = BrokenPictures(out / BROKEN)
    return Workshop(module, plan, source, encoding, validation, broken, out / WORK, trainable), starter


def trainable_model(plan: Plan) -> MoonTransformer:
    """The plan's model, with LoRA or without, in which what is to be trained requires a gradient."""
    module = open_trainable(plan.model, plan.preset.moon, plan.weights, plan.attention)
    if "guided-experts" in plan.config.without:
        unguide(module)
    if plan.lora_rank:
        add_lora(module, plan.lora_rank)
    freeze(module, plan.preset.frozen, tower=plan.config.train_tower)
    keep_frozen_towers_still(module)
    return module


def trained_model(shop: Workshop) -> MoonTransformer:
    """The model with what it learned; put together anew where FSDP leaves each process a part of it."""
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true":
        return shop.module
    torch.manual_seed(shop.plan.config.seed)
    module = trainable_model(shop.plan)
    moon_model(module).load_state_dict(load_file(shop.folder / "all" / FINAL), strict=False)
    return module


def _keeps_features(module: MoonTransformer, plan: Plan, source: TripletSource) -> bool:
    if not has_small_tower(module):
        return False
    views, wish = views_of(source.corpus, source), plan.config.feature_cache
    if plan.config.train_tower or wish is False:
        plan.note("feature cache", "off", "asked for" if wish is False else "the tower is trained")
        return False
    keeps = views <= MAX_VIEWS or wish is True
    plan.note("feature cache", "on" if keeps else "off", f"a small frozen tower and about {views:,} views")
    return keeps


def _train(shop: Workshop, starter: Starter | None, split: TrainingRows) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    for stage in shop.plan.stages:
        if not stage.steps:
            continue
        if stage.name == "all" and starter is None:
            history += run_stage(shop, stage)
        elif starter is None:
            logger.info("stage %s is left out: it needs kept features of a small tower", stage.name)
        elif stage.name == "tower":
            starter.fit_tower(shop, stage)
        elif stage.name == "boxes":
            starter.fit_boxes(shop, split.train, split.dev, stage)
        elif stage.name == "looks":
            starter.fit_looks(shop, stage)
        elif starter.applies(stage):
            history += run_stage(shop, stage, partial(starter.prepare, stage, shop), starter.prepared(stage))
    return history


def best_recalls(history: Sequence[Mapping[str, Any]], stage: str, metric: str) -> dict[str, float]:
    """The recalls of the validation of a stage that was best by ``metric``; empty without one."""
    validations = [entry for entry in history if entry["stage"] == stage and f"eval_{metric}" in entry]
    if not validations:
        return {}
    best = max(validations, key=lambda entry: entry[f"eval_{metric}"])
    return {name.removeprefix("eval_"): value for name, value in best.items() if RECALL.fullmatch(name)}


def _publish(
    shop: Workshop,
    starter: Starter | None,
    split: TrainingRows,
    history: Sequence[Mapping[str, Any]],
    best: Mapping[str, float],
    out: Path,
) -> None:
    """Write the checkpoint, its record and the report, and clear the workshop away."""
    plan, corpus = shop.plan, shop.source.corpus
    if starter:
        starter.give_back()
    save_trained(trained_model(shop), out)
    base = checkpoint_folder(plan.model)
    if (sources := base / "sources.json").exists():
        shutil.copy(sources, out)
    about = {key: value for key, value in corpus.info.items() if key != "source"}  # a path says nothing elsewhere
    facts = {
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in asdict(plan.config).items()},
        "plan": {key: {"value": value, "reason": reason} for key, (value, reason) in plan.reasons.items()},
        "data": {**about, "train": len(split.train), "dev": len(split.dev), "splits": ["train", "dev"]},
        "dev": dict(best),
        "dev_box_iou": starter.box_iou if starter else None,
        "broken_records": len(shop.broken),
        "versions": {package: version(package) for package in PACKAGES},
    }
    before = json.loads(file.read_text()) if (file := base / RECORD).exists() else None
    record = {**facts, "splits": split_record(corpus, split.train, split.dev), "before": before}
    (out / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    (out / COURSE).write_text("".join(json.dumps(entry) + "\n" for entry in history))
    sections: Iterator[str] = iter(())
    if plan.config.filtering:
        table, cache = suspects(history, corpus), read_settings().data / "trainer"
        write_suspects(table, out)
        sections = suspects_section(passes(history), table, PictureStore(cache, read_settings()).read)
    write_report(out, history, facts, sections)
    (shop.folder / RUN).unlink()  # from here on the run is complete, even if it ends while its workshop is removed
    shutil.rmtree(shop.folder)


def _augmented(plan: Plan, corpus: Corpus, split: TrainingRows) -> Augmented | None:
    """What products show beside what the data have, if it is asked for."""
    config = plan.config
    if config.augmented is None:
        return None
    found = Augmented.open(config.augmented, corpus, split.train, config.augmented_share)
    plan.note(
        "augmented",
        f"{found.titles} titles, {found.pictures} pictures",
        f"of {config.augmented}, in a share of {found.share:g} of the triplets each",
    )
    return found


def _no_box(picture: Picture, title: str) -> None:
    """For a model that sees no core crops."""


def _boxes(folder: Path | None, corpus: Corpus) -> FindBox:
    """The data's own boxes, and those of a detector that were kept in ``folder``."""
    if folder is None:
        return lambda picture, title: picture.box
    return BoxCache.open(folder, corpus).box
