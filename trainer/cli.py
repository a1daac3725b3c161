"""The `trainer` command: make MOON checkpoints, train them, measure them. Model libraries load on first use."""

from __future__ import annotations

import typer

from app.errors import MoonError
from trainer.commands import (
    augmentation,
    calibration,
    checkpoints,
    data,
    evaluation,
    mining,
    tolerance,
    training,
    words,
)

cli = typer.Typer(
    help="Make MOON checkpoints, train them and measure them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    checkpoints.upcycle,
    checkpoints.starter,
    checkpoints.merge,
    words.words,
    data.validate,
    mining.detect,
    mining.mine,
    augmentation.augment,
    training.fit,
    calibration.calibrate,
    evaluation.evaluate,
    tolerance.tolerance,
):
    cli.command()(command)


def main() -> None:
    """Run the command; an error of ours, or of the file system, becomes one line on stderr and exit status 1."""
    try:
        cli()
    except MoonError as error:
        message = str(error)
    except OSError as error:
        place, reason = error.filename or "the disk", error.strerror or error
        message = f"{place}: {reason}; check that it can be written and has room"
    else:
        return
    typer.echo(f"Error: {message}", err=True)
    raise SystemExit(1)
