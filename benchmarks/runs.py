"""Trainings that a benchmark compares: each trained and measured once, and tables of them over seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.errors import BadInputError
from app.moon.tower_memory import TowerMemory
from app.settings import read_settings
from trainer.evaluation.home import evaluate
from trainer.evaluation.targets import t_interval
from trainer.training.config import FitConfig
from trainer.training.fit import RECORD, fit
from trainer.training.resume import RUN, WORK

EVALUATION = "evaluation.json"
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

    def train(self, data: Path, start: Path, **wishes: Any) -> None:
        """Train, go on, or leave it if that is done; the last state counts, not the best, whose choice would add noise.

        ``wishes`` are fields of ``FitConfig``. Raises BadInputError if the run was trained with others.
        """
        config = FitConfig(model=str(start), seed=self.seed, validate_every=AT_THE_END, **wishes)
        if not self.is_trained:
            fit(data, self.folder, config)
            return
        before = json.loads((self.folder / RECORD).read_text())["config"]
        if before != json.loads(json.dumps(asdict(config), default=str)):
            raise BadInputError(f"{self.folder} was trained with other settings; choose another folder, or remove it.")

    def evaluate(self, data: Path, memory: TowerMemory, detector: str = "auto") -> None:
        """Measure the home-goods tasks on held-out designs, unless that is done."""
        if not (self.folder / EVALUATION).exists():
            settings = read_settings().model_copy(update={"model": str(self.folder), "detector": detector})
            self.keep(EVALUATION, evaluate(settings, data, memory=memory).to_dict())

    def keep(self, name: str, measured: Any) -> None:
        """Write what was measured, whole or not at all."""
        temporary = (self.folder / name).with_suffix(".tmp")
        temporary.write_text(json.dumps(measured, indent=2) + "\n")
        temporary.replace(self.folder / name)

    def values(self) -> dict[str, float]:
        """Held-out targets, then recalls on development designs; nothing of a run that is not evaluated."""
        if not self.is_trained or not (self.folder / EVALUATION).exists():
            return {}
        measured, record = (json.loads((self.folder / name).read_text()) for name in (EVALUATION, RECORD))
        targets = {target["measure"]: target["value"]["value"] for target in measured["targets"]}
        return targets | {f"development: {name}": value for name, value in record["dev"].items()}


def report(found: Mapping[str, Mapping[int, Values]], full: str) -> Iterator[str]:
    """Markdown lines of two tables, of values by title and seed: all, and differences to the title ``full``."""
    yield "Mean and 95 % t interval over seeds; in brackets how many."
    yield ""
    yield from _table({name: list(runs.values()) for name, runs in found.items()}, "{:.3f}")
    whole = found.get(full, {})
    pairs = {
        name: [_difference(values, whole[seed]) for seed, values in runs.items() if seed in whole]
        for name, runs in found.items()
        if name != full
    }
    yield ""
    yield f"Difference to {full}, paired by seed."
    yield ""
    yield from _table(pairs, "{:+.3f}")


def _difference(values: Values, full: Values) -> dict[str, float]:
    return {name: value - full[name] for name, value in values.items() if name in full}


def _table(columns: Mapping[str, Sequence[Values]], style: str) -> Iterator[str]:
    yield "| measure | " + " | ".join(f"{name} ({len(runs)})" for name, runs in columns.items()) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for measure in dict.fromkeys(name for runs in columns.values() for values in runs for name in values):
        cells = [_cell([values[measure] for values in runs if measure in values], style) for runs in columns.values()]
        yield f"| {measure} | " + " | ".join(cells) + " |"


def _cell(values: Sequence[float], style: str) -> str:
    if len(values) < 2:
        return style.format(values[0]) if values else "-"
    mean = t_interval(values)
    return f"{style.format(mean.value)} ± {mean.high - mean.value:.3f}"
