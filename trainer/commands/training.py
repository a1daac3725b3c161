"""The command that trains."""

from __future__ import annotations

import logging
import os
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.errors import BadInputError
from trainer.commands.options import DEMO, Boxes, DataOption, Event, Format, Images, Log, Out, Seed, event_weights
from trainer.training.config import PARTS, FitConfig, Objective, Precision, Views, Weighing
from trainer.training.presets import PRESETS

FIT = FitConfig()
PresetName = StrEnum("PresetName", {name.upper(): name for name in PRESETS})  # type: ignore[misc]
PRESET = PresetName(FIT.preset)
TORCH_WRITER = "inline_container"
"""How torch, in a RuntimeError, says that a file could not be written."""


def fit(
    out: Out,
    data: DataOption = DEMO,
    format_: Format = "auto",
    log: Log = None,
    images: Images = None,
    event: Event = None,
    preset: Annotated[PresetName, typer.Option(help="Base model and how it is trained")] = PRESET,
    model: Annotated[
        str | None, typer.Option(help="Checkpoint or base model to start from, instead of the preset's")
    ] = FIT.model,
    steps: Annotated[int | None, typer.Option(min=0, help="Steps of the main stage, in place of --epochs")] = FIT.steps,
    skip_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of the starter's skip path alone; 0: none")
    ] = FIT.skip_steps,
    looks_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of the starter's looks of pictures; 0: none")
    ] = FIT.looks_steps,
    box_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of the starter's core product detector; 0: none")
    ] = FIT.box_steps,
    tower_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of the upper stages of the starter's vision tower; 0: none")
    ] = FIT.tower_steps,
    epochs: Annotated[float, typer.Option(min=0, help="Passes over the records")] = FIT.epochs,
    batch: Annotated[int | None, typer.Option(min=1, help="Triplets per process and step")] = FIT.batch,
    mini_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Rows computed at a time: gradient caching, for batches larger than memory"),
    ] = FIT.mini_batch,
    lr: Annotated[float | None, typer.Option(min=0, help="Peak learning rate")] = FIT.lr,
    lora_rank: Annotated[
        int | None, typer.Option(min=0, help="Rank of LoRA updates; 0: full fine-tuning")
    ] = FIT.lora_rank,
    train_tower: Annotated[bool, typer.Option("--train-tower", help="Train the vision tower too")] = FIT.train_tower,
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the model")] = FIT.precision,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option(help="Compute layers twice to save memory")
    ] = FIT.gradient_checkpointing,
    objective: Annotated[Objective, typer.Option(help="InfoNCE (paper) or circle loss")] = FIT.objective,
    past_batches: Annotated[
        int | None, typer.Option(min=0, help="Past batches that give temporal negatives; 0: none")
    ] = FIT.past_batches,
    spatial: Annotated[bool, typer.Option(help="Negatives from all processes")] = FIT.spatial,
    mixture: Annotated[
        str | None, typer.Option(help="Weights of image, text and image+text queries, instead of the preset's")
    ] = FIT.mixture,
    views: Annotated[
        Views,
        typer.Option(
            help="How a triplet is asked: as the mixture says (MOON), by picture, text and both in one step (joint, "
            "MOON2.0), or by one of the three, drawn by its weight, at the mixture's cost (budget)"
        ),
    ] = FIT.views,
    intra: Annotated[
        float, typer.Option(min=0, help="Weight of aligning a product's pictures with its own words (MOON2.0); 0: none")
    ] = FIT.intra,
    objective_weights: Annotated[
        Weighing,
        typer.Option(
            help="How query modalities are weighed by the experts they use: all the same (MOON), as MOON2.0's formula "
            "says, or by constants within limits"
        ),
    ] = FIT.objective_weights,
    sparsity: Annotated[
        float, typer.Option(min=0, help="How strongly each expert is to keep to one query modality; 0.001 is usual")
    ] = FIT.sparsity,
    filtering: Annotated[
        bool, typer.Option("--filtering", help="Let triplets count less whose positive hardly beats their negative")
    ] = FIT.filtering,
    sibling_share: Annotated[
        float, typer.Option(min=0, max=1, help="How often the hard negative is another SKU of the same model")
    ] = FIT.sibling_share,
    without: Annotated[
        list[str],
        typer.Option(
            metavar="PART",
            help=f"Leave a part out, to see what it brings; can be given several times: {', '.join(PARTS)}",
        ),
    ] = FIT.without,  # type: ignore[assignment]
    mined: Annotated[Path | None, typer.Option(help="Hard negatives from `trainer mine`")] = FIT.mined,
    augmented: Annotated[
        Path | None, typer.Option(help="Enriched titles and expanded pictures from `trainer augment`")
    ] = FIT.augmented,
    augmented_share: Annotated[
        float, typer.Option(min=0, max=1, help="How often products show them, titles and pictures each on their own")
    ] = FIT.augmented_share,
    boxes: Boxes = FIT.boxes,
    dims: Annotated[
        str, typer.Option(help="Further widths to train (Matryoshka), for example 512,256 or auto")
    ] = FIT.dims,
    validate_every: Annotated[int | None, typer.Option(min=1, help="Steps between validations")] = FIT.validate_every,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read pictures ahead")] = FIT.workers,
    feature_cache: Annotated[
        bool | None, typer.Option(help="Keep what a small frozen tower gives for each picture")
    ] = FIT.feature_cache,
    track: Annotated[
        str, typer.Option(help="Trackers of the run, as the Trainer names them: tensorboard,wandb,mlflow ... or none")
    ] = FIT.track,
    seed: Seed = FIT.seed,
) -> None:
    """Train a MOON model; what is not given is derived from preset, data and machine, and logged with the reason.

    OUT gets the best checkpoint by recall on the development split, its record training.json and report.html. A run
    that was interrupted goes on when it is started again. For several GPUs: `accelerate launch -m trainer fit`.
    """
    first = int(os.environ.get("RANK", "0")) == 0
    logging.basicConfig(level=logging.INFO if first else logging.WARNING, format="%(asctime)s %(message)s")
    given = {name: value for name, value in locals().items() if name in FitConfig.__dataclass_fields__}
    config = FitConfig(**{**given, "preset": preset.value, "without": tuple(without)})
    warnings.filterwarnings("ignore", category=FutureWarning)  # between libraries, nothing that a user could change
    from safetensors import SafetensorError
    from torch import OutOfMemoryError

    from trainer.training.fit import fit as run

    try:
        best = run(data, out, config, format=format_, log=log, images=images, events=event_weights(event))
    except FloatingPointError as error:
        raise BadInputError(str(error)) from error
    except OutOfMemoryError as error:
        raise BadInputError(
            f"the GPU's memory is full ({error}); start again in another folder with --mini-batch 4, a smaller --batch "
            "or --gradient-checkpointing"
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and TORCH_WRITER not in str(error):
            raise
        raise BadInputError(
            f"{out}, or the folder MOON_DATA, cannot be written ({error}); check both, make room, and start again: the "
            "run goes on where it was"
        ) from error
    if first:
        typer.echo(f"Wrote {out}; recall on the development split: {_numbers(best)}.")


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items()) or "none measured"
