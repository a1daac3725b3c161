"""What a tower's features tell of pictures, stage by stage, on development designs.

    python benchmarks/features.py MODEL [MODEL ...] [--steps 150]

Each MODEL is a starter, for instance one that `trainer starter` wrote, whose tower is frozen as ImageNet left it, and
one that `trainer fit` tuned. Features are means and deviations of channels, of the pixels and of the tower's maps, the
last of which is pooled to visual tokens. Prints a markdown table: R@1 of the design by features as they are
(standardised cosines), and after a matrix was taught as in the stage `looks`, for photos, crops by the true box, and
both together, among all SKUs but those of the test split. And what a linear reading tells of the first picture of a
development product: its category at level 2 and its first colour (logistic regression on training products).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from looks import COLUMNS, STAGE, packshot, recalls
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import normalize

from app.moon.load import load_module
from app.moon.skip import PicturePath
from app.moon.tower import COLOURS, LOOKED_AT
from app.settings import ROOT, read_settings
from trainer.data.corpus import Corpus
from trainer.data.home import HomeProduct, HomeSet
from trainer.data.open import open_corpus
from trainer.data.pictures import PictureStore
from trainer.data.splits import training_rows
from trainer.data.views import View
from trainer.training.batches import BrokenPictures
from trainer.training.looks import Gallery, Photos, Statistics, fit_looks
from trainer.training.presets import Stage
from trainer.training.starter import Starter
from trainer.training.triplets import Recipe, TripletSource
from trainer.training.warmup import align_pictures

SEED = 0
STRENGTH = 0.01
"""Inverse weight of the penalty on the probe's weights."""


@dataclass(frozen=True)
class Features:
    """Statistics of some maps, counted from the pixels' (0) to the last; ``deviations`` are left out or not."""

    about: str
    maps: range
    deviations: bool = True

    def columns(self, sizes: Sequence[int]) -> Tensor:
        """Places among all statistics, of maps of so many channels."""
        starts = np.cumsum([0, *(2 * size for size in sizes)])
        wide = 2 if self.deviations else 1
        return torch.cat([torch.arange(starts[n], starts[n] + wide * sizes[n]) for n in self.maps])


LAST = len(LOOKED_AT) + 1
FEATURES = (
    Features("mean of the last map", range(LAST, LAST + 1), deviations=False),
    Features("mean and deviation of the last map", range(LAST, LAST + 1)),
    Features("of the last three maps", range(LAST - 2, LAST + 1)),
    Features("of the pixels and all maps but the last (the starter's)", range(LAST)),
    Features("of the pixels and all maps", range(LAST + 1)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a starter, whose tower is taken as it is")
    parser.add_argument("--steps", type=int, default=STAGE.steps)
    given = parser.parse_args()
    settings, home = read_settings(), HomeSet(ROOT / "demo")
    cache = settings.data / "trainer"
    corpus, store = open_corpus(home.root, cache=cache), PictureStore(cache, settings)
    head = ("as they are: crop", *(f"taught: {column}" for column in COLUMNS), "category level 2", "colour")
    print(f"| tower | features | {' | '.join(head)} |\n| --- | --- |{' ---: |' * len(head)}")
    for model in given.models:
        module = load_module(model, torch.float32)
        starter = Starter(module, store.read, cache)
        sizes = (COLOURS, *(channels for *_, channels, _ in LOOKED_AT), module.model.config.vision_config.hidden_size)
        for features in FEATURES:
            chosen = features.columns(sizes)
            statistics = _only(_with_the_last(starter), chosen)
            path = PicturePath(len(chosen), *_widths(module.model.moon_skip.pictures))
            found = _taught(path, statistics, corpus, store, given.steps, home)
            cells = [f"{value:.3f}" for value in (*found, *_probes(statistics, home))]
            print(f"| {Path(model).name} | {features.about} | {' | '.join(cells)} |", flush=True)
        starter.give_back()


def _with_the_last(starter: Starter) -> Statistics:
    """The tower's statistics, and behind them mean and deviation of its visual tokens."""

    def statistics(views: Sequence[View]) -> Tensor:
        maps, seen = starter.stand_in.split(starter.tokens(views))
        return torch.cat([seen, maps.mean(dim=(2, 3)), maps.std(dim=(2, 3))], dim=1)

    return statistics


def _only(statistics: Statistics, chosen: Tensor) -> Statistics:
    return lambda views: statistics(views)[:, chosen]


def _widths(path: PicturePath) -> tuple[int, int, float]:
    return path.meaning.out_features, path.picture_dims, path.dropout.p


def _taught(
    path: PicturePath, statistics: Statistics, corpus: Corpus, store: PictureStore, steps: int, home: HomeSet
) -> list[float]:
    """R@1 of crops by the features as they are, then by ``COLUMNS`` after ``path`` was taught."""
    torch.manual_seed(SEED)
    rows = training_rows(corpus).train
    recipe = Recipe(augment=True)
    source = TripletSource(corpus, rows, recipe, SEED, lambda picture, _: picture.box, read=store.read)
    gallery = Gallery(source.of_pictures(), statistics)
    align_pictures(path, gallery.statistics)

    def standard(features: Tensor) -> Tensor:
        return normalize((features - path.centre) / path.spread, dim=1)

    raw = recalls(standard, statistics, home)[COLUMNS.index("crop")]
    with tempfile.TemporaryDirectory() as folder:
        photos = Photos(source.of_pictures(), statistics, BrokenPictures(Path(folder) / "broken.jsonl"))
        fit_looks(path, photos, gallery, Stage("looks", steps, STAGE.batch, STAGE.lr))
    return [raw, *recalls(path.eval().seen, statistics, home)]


def _probes(statistics: Statistics, home: HomeSet) -> list[float]:
    """Accuracy on development products of what training products tell."""
    shown = [item for item in home.products if item.product.images]
    train, dev = ([item for item in shown if item.split == split] for split in ("train", "dev"))
    seen = {split: _seen(statistics, home, items) for split, items in (("train", train), ("dev", dev))}
    return [
        _probe(seen["train"], np.array([label(item) for item in train]), seen["dev"], [label(item) for item in dev])
        for label in (category, colour)
    ]


def _probe(known: NDArray[np.float32], labels: NDArray[np.str_], asked: NDArray[np.float32], truth: list[str]) -> float:
    """Share of those asked that have a label whose label is found."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=300))
    probe.fit(known[labels != ""], labels[labels != ""])
    right = probe.predict(asked) == np.array(truth)
    return float(right[np.array(truth) != ""].mean())


def _seen(statistics: Statistics, home: HomeSet, items: Sequence[HomeProduct]) -> NDArray[np.float32]:
    views: list[View] = [packshot(home, item.product.images[0]) for item in items]
    return np.concatenate([statistics(views[start : start + 32]).numpy() for start in range(0, len(views), 32)])


def category(item: HomeProduct) -> str:
    return " > ".join(item.product.category[:2])


def colour(item: HomeProduct) -> str:
    return next(iter(item.product.attributes.get("color", [])), "")


if __name__ == "__main__":
    main()
