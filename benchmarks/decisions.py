"""What the starter's language model is made of: variants of it, each trained alone and measured on development designs.

    python benchmarks/decisions.py weights models/moon-starter runs/decisions [--variants taken random ...]

WEIGHTS is the folder with the packages of `trainer starter`, TRAINED a starter whose words, vision tower and projector
every variant takes. The skip path is left out, so that recall tells what the language model itself can do after a few
steps: whatever the skip path knows would hide it. Prints a markdown table of recalls and of the time per step; a
variant that is in the table already (OUT/VARIANT/training.json) is not trained again.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any
from unittest.mock import patch

import torch

from app.moon.config import MoonConfig
from app.moon.load import load_module, save_moon
from app.moon.transformer import MoonTransformer
from app.settings import ROOT
from trainer.checkpoints.starter import LAYERS, untaught
from trainer.training import stages
from trainer.training.config import FitConfig
from trainer.training.fit import COURSE, RECORD, fit
from trainer.training.presets import STARTER

logger = logging.getLogger(__name__)

TEMPERATURE = 0.05
"""Of MOON's loss at the start of a training; it is learned from there."""
AT_THE_END = 1_000_000
"""Steps between two validations; a training ends with one."""
ALONE = replace(STARTER, skip=False, picture_dims=0, box_head=False)
Change = Callable[[MoonTransformer], None]


def _untrained_language(module: MoonTransformer) -> None:
    """Random layers; the words stay."""
    for layer in module.model.language_model.layers:
        for name, parameter in layer.named_parameters():
            if parameter.dim() > 1 and "lora" not in name:
                torch.nn.init.normal_(parameter, std=0.02)


def _untrained_projector(module: MoonTransformer) -> None:
    for part in module.model.multi_modal_projector.children():
        if isinstance(part, torch.nn.Linear):
            part.reset_parameters()


@dataclass(frozen=True)
class Variant:
    """How a language model differs from the starter's; ``about`` is its name in the table."""

    about: str
    moon: MoonConfig = ALONE
    layers: int = LAYERS
    grid: int = 4
    temperature: float = TEMPERATURE
    change: Change = field(default=lambda module: None)


VARIANTS = {
    "taken": Variant("as in the starter"),
    "random": Variant("random layers instead of SmolLM2's", change=_untrained_language),
    "projector": Variant("random projector", change=_untrained_projector),
    "one-layer": Variant("one layer", layers=1),
    "four-layers": Variant("four layers", layers=4),
    "eight-layers": Variant("eight layers", layers=8),
    "49-tokens": Variant("49 visual tokens instead of 16", grid=7),
    "rank-4": Variant("experts of rank 4 instead of 16", replace(ALONE, expert_rank=4)),
    "rank-64": Variant("experts of rank 64", replace(ALONE, expert_rank=64)),
    "causal": Variant("causal attention", replace(ALONE, attention="causal")),
    "temperature-0.02": Variant("temperature of 0.02 at the start, not 0.05", temperature=0.02),
    "temperature-0.1": Variant("temperature of 0.1 at the start", temperature=0.1),
    "mean": Variant("mean over content tokens", replace(ALONE, pooling="mean")),
    "last": Variant("last token", replace(ALONE, pooling="last", attention="causal")),
}


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in given.variants:
        if not (given.out / name / RECORD).exists():
            logger.info("variant %s", name)
            _train(VARIANTS[name], given, name)
    print("\n".join(report(given.out, given.variants)))


def build(variant: Variant, weights: Path, trained: MoonTransformer) -> MoonTransformer:
    """The variant with all of ``trained`` that is not its language model's own, and then its change."""
    torch.manual_seed(0)
    module = untaught(weights, trained.words, variant.moon, variant.layers, variant.grid)
    kept = ("vision_tower", "multi_modal_projector", "embed_tokens")
    known = {name: value for name, value in trained.model.state_dict().items() if any(part in name for part in kept)}
    module.model.load_state_dict(known, strict=False)
    variant.change(module)
    return module


def report(out: Path, names: Sequence[str]) -> list[str]:
    """Markdown lines of the variants that were trained."""
    rows = {}
    for name in names:
        if (file := out / name / RECORD).exists():
            rows[name] = json.loads(file.read_text())["dev"] | _last(out / name)
    measures = list(dict.fromkeys(measure for row in rows.values() for measure in row))
    lines = ["| variant | " + " | ".join(measures) + " |", "| --- |" + " ---: |" * len(measures)]
    for name, row in rows.items():
        lines.append(f"| {VARIANTS[name].about} | " + " | ".join(_cell(row, measure) for measure in measures) + " |")
    return lines


def _last(folder: Path) -> dict[str, float]:
    """Mean loss of the last ten entries of the course, and seconds per step without validation."""
    course = [json.loads(line) for line in (folder / COURSE).read_text().splitlines()]
    losses = [entry["loss"] for entry in course if "loss" in entry]
    validated = sum(entry.get("eval_runtime", 0.0) for entry in course)
    whole = next(entry for entry in course if "train_runtime" in entry)
    return {"loss": mean(losses[-10:]), "s/step": (whole["train_runtime"] - validated) / whole["step"]}


def _cell(row: Mapping[str, float], measure: str) -> str:
    return f"{row[measure]:.3f}" if measure in row else "-"


def _train(variant: Variant, given: argparse.Namespace, name: str) -> None:
    start = given.out / "untrained" / name
    if not (start / "config.json").exists():
        save_moon(build(variant, given.weights, load_module(str(given.trained), torch.float32)), start)
    wishes = {"steps": given.steps, "lr": given.lr, "box_steps": 0, "tower_steps": 0, "looks_steps": 0, "skip_steps": 0}
    with patch.object(stages, "MoonLoss", partial(stages.MoonLoss, temperature=variant.temperature)):
        fit(given.data, given.out / name, FitConfig(model=str(start), validate_every=AT_THE_END, **wishes))


def _parser() -> argparse.ArgumentParser:
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="folder of the packages of `trainer starter`")
    parser.add_argument("trained", type=Path, metavar="TRAINED", help="starter that the variants are made of")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the runs")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--data", type=Path, default=ROOT / "demo", help="the home-goods set")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--lr", type=float, default=3e-4)
    return parser


if __name__ == "__main__":
    main()
