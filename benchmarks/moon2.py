"""What each part of MOON2.0 brings: runs without it, with several seeds, on held-out designs.

    python -m trainer fit runs/looks --model runs/untrained --skip-steps 0 --steps 0
    python -m trainer augment demo runs/augmented
    python benchmarks/moon2.py runs/looks runs/moon2 --augmented runs/augmented [--seeds 0 1 2] [--steps 80]
    python benchmarks/moon2.py runs/looks runs/moon2 --augmented runs/augmented --variants MOON2.0 MOON
    python benchmarks/moon2.py runs/looks runs/wide --augmented runs/augmented --experts 6
    python benchmarks/moon2.py runs/looks runs/noisy --noise 0.1

Every run trains the skip path and the whole model from START, whose tower, box head and looks are trained: MOON2.0,
then without each of its parts, and MOON, at equal numbers of triplets. All are measured on the home-goods set: its
targets, the directions of retrieval and predictions of `trainer evaluate`, and recall on development designs.
Variants that differ in the main stage alone share the skip path of their seed. `ablation.py` says how tables are to be
read, and that started again nothing is repeated.

With `--experts` START gets so many before, the reserved two included: its own two free ones leave routers that choose
two nothing to choose.

With `--noise` a share of the training products show titles of another design, and as many show pictures of another, and
runs with and without filtering stand beside MOON. What is measured is not noisy. A last table says how many of the
records that filtering lists as suspects are of wrong products. Nothing is augmented there.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import polars as pl
from noise import WRONG, write_noisy, wrong_products
from runs import Run, Values, report
from wider import widen

from app.moon.embedder import load_encoder
from app.moon.tower_memory import TowerMemory, remembering
from app.settings import ROOT, read_settings
from trainer.data.open import open_corpus
from trainer.data.pictures import PictureStore
from trainer.evaluation.benchmark import Benchmark, prepare
from trainer.evaluation.home import ALL_PICTURES
from trainer.evaluation.models.moon import MoonModel
from trainer.evaluation.results import ModelResult
from trainer.evaluation.run import Bench
from trainer.training.suspects import FILE

logger = logging.getLogger(__name__)

WHOLE, MOON = "MOON2.0", "MOON"
PARTS: Mapping[str, Mapping[str, Any]] = {
    "experts": {"objective_weights": "uniform", "sparsity": 0.0},
    "alignment": {"intra": 0.0},
    "augmentation": {"augmented": None},
    "filtering": {"filtering": False},
}
"""What is changed where a part is left out."""
IN_MAIN_STAGE = ("objective_weights", "sparsity", "filtering")
"""Wishes that no other stage knows."""
STARTED = {"tower_steps": 0, "box_steps": 0, "looks_steps": 0}
DIRECTIONS = "directions.json"
DEPTHS = (10, 100)
"""Suspects that are looked at, from the most rejected."""


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    wishes = variants(given.augmented, given.noise)
    asked = [name for name in wishes if name in given.variants]
    turns = [Run(name, seed, given.out / f"{_file(name)}-{seed}") for seed in given.seeds for name in asked]
    noisy = given.out / "data"
    if not given.table:
        if given.noise and not (noisy / WRONG).exists():
            write_noisy(given.data, noisy, given.noise, seed=0)
        start = given.start
        if given.experts and not (start := given.out / f"start-{given.experts}").exists():
            widen(given.start, start, given.experts)
        data = noisy if given.noise else given.data
        memory = TowerMemory(ALL_PICTURES)
        for run in turns:
            logger.info("%s, seed %d", run.variant, run.seed)
            train(run, wishes, data, start, given.skip_steps, given.steps)
            measure(run, given.data, memory)
    found: dict[str, dict[int, Values]] = {name: {} for name in asked}
    for run in turns:
        if (values := run.values()) and (file := run.folder / DIRECTIONS).exists():
            found[run.variant][run.seed] = values | json.loads(file.read_text())
    print("\n".join(report(found, WHOLE)))
    if given.noise:
        print("\n".join(["", *suspected([run for run in turns if run.variant == WHOLE], wrong_products(noisy))]))


def variants(augmented: Path | None, noise: float) -> dict[str, dict[str, Any]]:
    """What each variant wishes of the training."""
    moon2 = {
        "views": "joint",
        "intra": 1.0,
        "objective_weights": "balanced",
        "sparsity": 0.001,
        "filtering": True,
        "augmented": augmented,
    }
    parts = ("filtering",) if noise else [name for name in PARTS if augmented or name != "augmentation"]
    return {WHOLE: moon2, **{f"without {name}": {**moon2, **PARTS[name]} for name in parts}, MOON: {}}


def train(
    run: Run, wishes: Mapping[str, Mapping[str, Any]], data: Path, start: Path, skip_steps: int | None, main: int | None
) -> None:
    """Train the skip path, once for all variants that differ in the main stage alone, then the model."""
    own = wishes[run.variant]
    first = _before_main(own)
    alike = next(name for name, other in wishes.items() if _before_main(other) == first)
    skip = Run(alike, run.seed, run.folder.parent / f"{_file(alike)}-skip-{run.seed}")
    skip.train(data, start, **first, **STARTED, skip_steps=skip_steps, steps=0)
    run.train(data, skip.folder, **own, **STARTED, skip_steps=0, steps=main)


def _before_main(wishes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in wishes.items() if key not in IN_MAIN_STAGE}


def measure(run: Run, data: Path, memory: TowerMemory) -> None:
    """The tasks of the home-goods set, then the directions, each unless it is done."""
    run.evaluate(data, memory)
    if (run.folder / DIRECTIONS).exists():
        return
    settings = read_settings().model_copy(update={"model": str(run.folder)})
    cache = settings.data / "trainer"
    benchmark: Benchmark = prepare(open_corpus(data, cache=cache), "test")
    embedder = load_encoder(settings)
    tower = embedder.module.model.vision_tower
    memory.serve(tower)
    with remembering(tower, memory):
        measured = Bench(benchmark, PictureStore(cache, settings).read, settings).measure(MoonModel(embedder))
    run.keep(DIRECTIONS, dict(_directions(measured)))


def _directions(measured: ModelResult) -> Iterator[tuple[str, float]]:
    for cell in measured.cells:
        yield f"{cell.query} -> {cell.target}: R@10", cell.strict[10].value
    for one in measured.predictions:
        yield f"{one.task}, {one.rule}: accuracy", one.accuracy.value


def suspected(runs: Sequence[Run], wrong: set[str]) -> Iterator[str]:
    """Markdown lines: the share of wrong products among the suspects of each pass, mean over runs."""
    tables = [pl.read_parquet(file) for run in runs if (file := run.folder / f"{FILE}.parquet").exists()]
    yield "Suspects of wrong products."
    yield ""
    yield "| pass | " + " | ".join(f"of the first {depth}" for depth in DEPTHS) + " |"
    yield "| --- |" + " ---: |" * len(DEPTHS)
    for number in sorted({number for table in tables for number in table["pass"]}):
        own = [table.filter(pl.col("pass") == number)["positive_id"] for table in tables]
        shares = [mean(ids.head(depth).is_in(list(wrong)).mean() for ids in own if len(ids)) for depth in DEPTHS]
        yield f"| {number} | " + " | ".join(f"{share:.3f}" for share in shares) + " |"


def _file(name: str) -> str:
    return name.lower().replace(" ", "-").replace(".", "")


def _parser() -> argparse.ArgumentParser:
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path, metavar="START", help="checkpoint that every run starts from")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the runs")
    names = (WHOLE, *(f"without {part}" for part in PARTS), MOON)
    parser.add_argument("--variants", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--data", type=Path, default=ROOT / "demo", help="the home-goods set")
    parser.add_argument("--augmented", type=Path, help="what `trainer augment` made of it")
    parser.add_argument("--experts", type=int, help="per layer, in the place of START's")
    parser.add_argument("--noise", type=float, default=0.0, help="share of wrong titles, and of wrong pictures")
    parser.add_argument("--skip-steps", type=int, help="of the stage skip")
    parser.add_argument("--steps", type=int, help="of the main stage")
    parser.add_argument("--table", action="store_true", help="print what is there and train nothing")
    return parser


if __name__ == "__main__":
    main()
