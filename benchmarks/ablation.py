"""What each part of the training brings: runs without it, with several seeds, on held-out designs.

    python benchmarks/ablation.py runs/untrained runs/ablation [--seeds 0 1 2] [--variants full core-crop ...]

Trains the starter from START (as `trainer starter` makes it) as usual and without each part, evaluates every run on the
home-goods set, and prints two markdown tables: mean and 95 % t interval over seeds, and the difference to the full
training, paired by seed. Steps that are not given are the preset's. First stages that a variant has in common with the
full training are trained once per seed. The last state of a stage counts, not the best, whose choice would add noise.
Every run keeps its folder OUT/VARIANT-SEED with its evaluation.json; started again, finished work is not repeated and a
run that was interrupted goes on. All variants have their turn with one seed before the next. `--table` prints what is
there and trains nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.errors import BadInputError
from app.moon.tower_memory import TowerMemory
from app.settings import ROOT, read_settings
from trainer.evaluation.home import ALL_PICTURES, evaluate
from trainer.evaluation.targets import t_interval
from trainer.training.config import PARTS, FitConfig
from trainer.training.fit import RECORD, fit
from trainer.training.resume import RUN, WORK

logger = logging.getLogger(__name__)

FULL = "full"
VARIANTS = (FULL, *PARTS)
EVALUATION = "evaluation.json"
STAGES = ("tower_steps", "box_steps", "looks_steps", "skip_steps", "steps")
IN_COMMON = {FULL: (3, 4), "guided-experts": (3, 4), "extended-negatives": (3,)}
"""After how many stages a variant is still what another one is, too; there a shared checkpoint stands."""
AT_THE_END = 1_000_000
"""Steps between two validations; every stage ends with one."""
Values = Mapping[str, float]
"""Measured values of one run by the name of the measure."""


@dataclass(frozen=True)
class Run:
    """One training of a variant with a seed, in its own folder."""

    variant: str
    seed: int
    folder: Path

    @property
    def is_trained(self) -> bool:
        return (self.folder / RECORD).exists() and not (self.folder / WORK / RUN).exists()

    def train(self, data: Path, start: Path, steps: Mapping[str, int | None]) -> None:
        """Raises BadInputError if the run was trained with other settings."""
        without = () if self.variant == FULL else (self.variant,)
        done = 0
        for stages in IN_COMMON.get(self.variant, ()):
            shared = Run("common", self.seed, self.folder.parent / f"common-{stages}-{self.seed}")
            shared._fit(data, start, _only(steps, STAGES[done:stages]), ())
            start, done = shared.folder, stages
        self._fit(data, start, _only(steps, STAGES[done:]), without)

    def _fit(self, data: Path, start: Path, steps: Mapping[str, int | None], without: tuple[str, ...]) -> None:
        config = FitConfig(model=str(start), seed=self.seed, without=without, validate_every=AT_THE_END, **steps)
        if not self.is_trained:
            fit(data, self.folder, config)
        elif json.loads((self.folder / RECORD).read_text())["config"] != json.loads(json.dumps(asdict(config))):
            raise BadInputError(f"{self.folder} was trained with other settings; choose another folder, or remove it.")

    def evaluate(self, data: Path, memory: TowerMemory) -> None:
        """A model that never saw a core crop is shown none."""
        if (file := self.folder / EVALUATION).exists():
            return
        detector = "none" if self.variant == "core-crop" else "auto"
        settings = read_settings().model_copy(update={"model": str(self.folder), "detector": detector})
        measured = evaluate(settings, data, memory=memory).to_dict()
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(measured, indent=2) + "\n")
        temporary.replace(file)

    def values(self) -> dict[str, float]:
        """Held-out targets, then recalls on development designs; nothing of a run that is not evaluated."""
        if not self.is_trained or not (self.folder / EVALUATION).exists():
            return {}
        measured, record = (json.loads((self.folder / name).read_text()) for name in (EVALUATION, RECORD))
        targets = {target["measure"]: target["value"]["value"] for target in measured["targets"]}
        return targets | {f"development: {name}": value for name, value in record["dev"].items()}


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    turns = [Run(name, seed, given.out / f"{name}-{seed}") for seed in given.seeds for name in given.variants]
    if not given.table:
        steps = {name: getattr(given, name) for name in STAGES}
        memory = TowerMemory(ALL_PICTURES)
        for run in turns:
            logger.info("%s, seed %d", run.variant, run.seed)
            run.train(given.data, given.start, steps)
            run.evaluate(given.data, memory)
    found: dict[str, dict[int, Values]] = {name: {} for name in given.variants}
    for run in turns:
        if values := run.values():
            found[run.variant][run.seed] = values
    print("\n".join(report(found)))


def _only(steps: Mapping[str, int | None], chosen: Sequence[str]) -> dict[str, int | None]:
    """Steps of some stages, and none of the others."""
    return {name: wish if name in chosen else 0 for name, wish in steps.items()}


def report(found: Mapping[str, Mapping[int, Values]]) -> Iterator[str]:
    """Markdown lines of both tables, of values by variant and seed."""
    yield "Mean and 95 % t interval over seeds; in brackets how many."
    yield ""
    yield from _table({name: list(runs.values()) for name, runs in found.items()}, "{:.3f}")
    full = found.get(FULL, {})
    pairs = {
        name: [_difference(values, full[seed]) for seed, values in runs.items() if seed in full]
        for name, runs in found.items()
        if name != FULL
    }
    yield ""
    yield "Difference to the full training, paired by seed."
    yield ""
    yield from _table(pairs, "{:+.3f}")


def _difference(values: Values, full: Values) -> dict[str, float]:
    return {name: value - full[name] for name, value in values.items() if name in full}


def _table(columns: Mapping[str, Sequence[Values]], style: str) -> Iterator[str]:
    yield "| measure | " + " | ".join(f"{_title(name)} ({len(runs)})" for name, runs in columns.items()) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for measure in dict.fromkeys(name for runs in columns.values() for values in runs for name in values):
        cells = [_cell([values[measure] for values in runs if measure in values], style) for runs in columns.values()]
        yield f"| {measure} | " + " | ".join(cells) + " |"


def _title(variant: str) -> str:
    return variant if variant == FULL else f"without {variant}"


def _cell(values: Sequence[float], style: str) -> str:
    if len(values) < 2:
        return style.format(values[0]) if values else "-"
    mean = t_interval(values)
    return f"{style.format(mean.value)} ± {mean.high - mean.value:.3f}"


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
