"""What each part of the training brings: runs without it, with several seeds, on held-out designs.

    python benchmarks/ablation.py runs/untrained runs/ablation [--seeds 0 1 2] [--variants full core-crop ...]

Trains the starter from START (as `trainer starter` makes it) as usual and without each part, evaluates every run on the
home-goods set, and prints two markdown tables: mean and 95 % t interval over seeds, and the difference to the full
training, paired by seed. Steps that are not given are the preset's. First stages that a variant has in common with the
full training are trained once per seed. The last state of a stage counts, not the best, whose choice would add noise.
Every run keeps its folder OUT/VARIANT-SEED with its evaluation.json; started again, finished work is not repeated and a
run that was interrupted goes on. All variants have their turn with one seed before the next. `--table` prints what is
there and trains nothing. `moon2.py` does the same for the parts of MOON2.0.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runs import Run, Values, report

from app.moon.tower_memory import TowerMemory
from app.settings import ROOT
from trainer.evaluation.home import ALL_PICTURES
from trainer.training.config import PARTS

logger = logging.getLogger(__name__)

FULL = "full"
VARIANTS = (FULL, *PARTS)
STAGES = ("tower_steps", "box_steps", "looks_steps", "skip_steps", "steps")
IN_COMMON = {FULL: (3, 4), "guided-experts": (3, 4), "extended-negatives": (3,)}
"""After how many stages a variant is still what another one is, too; there a shared checkpoint stands."""


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    turns = [Run(name, seed, given.out / f"{name}-{seed}") for seed in given.seeds for name in given.variants]
    if not given.table:
        steps = {name: getattr(given, name) for name in STAGES}
        memory = TowerMemory(ALL_PICTURES)
        for run in turns:
            logger.info("%s, seed %d", run.variant, run.seed)
            train(run, given.data, given.start, steps)
            # a model that never saw a core crop is shown none
            run.evaluate(given.data, memory, "none" if run.variant == "core-crop" else "auto")
    found: dict[str, dict[int, Values]] = {_title(name): {} for name in given.variants}
    for run in turns:
        if values := run.values():
            found[_title(run.variant)][run.seed] = values
    print("\n".join(report(found, FULL)))


def train(run: Run, data: Path, start: Path, steps: Mapping[str, int | None]) -> None:
    """Train a run from what it has in common with others."""
    without = () if run.variant == FULL else (run.variant,)
    done = 0
    for stages in IN_COMMON.get(run.variant, ()):
        shared = Run("common", run.seed, run.folder.parent / f"common-{stages}-{run.seed}")
        shared.train(data, start, without=(), **_only(steps, STAGES[done:stages]))
        start, done = shared.folder, stages
    run.train(data, start, without=without, **_only(steps, STAGES[done:]))


def _only(steps: Mapping[str, int | None], chosen: Sequence[str]) -> dict[str, int | None]:
    """Steps of some stages, and none of the others."""
    return {name: wish if name in chosen else 0 for name, wish in steps.items()}


def _title(variant: str) -> str:
    return variant if variant == FULL else f"without {variant}"


def _parser() -> argparse.ArgumentParser:
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path, metavar="START", help="checkpoint that every run starts from")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the runs")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--data", type=Path, default=ROOT / "demo", help="the home-goods set")
    for stage in ("tower", "box", "looks", "skip"):
        parser.add_argument(f"--{stage}-steps", type=int, help=f"of the stage {stage}; 0: none")
    parser.add_argument("--steps", type=int, help="of the main stage")
    parser.add_argument("--table", action="store_true", help="print what is there and train nothing")
    return parser


if __name__ == "__main__":
    main()
