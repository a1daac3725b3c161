"""How photos are taught to find the pictures of their product: variants of the stage `looks`, on development designs.

    python benchmarks/looks.py models/moon-starter [--seeds 0 1 2] [--steps 150]

Every variant begins with the principal components of the tower's statistics and learns from training photos alone.
Prints a markdown table: R@1 of the design, mean over seeds and, with several, their least and largest; for photos as
they are, for crops by the true box, and for both together; among all SKUs but those of the test split.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.moon.load import load_module
from app.moon.skip import PicturePath
from app.settings import ROOT, read_settings
from trainer.data.home import HomeProduct, HomeSet, Photo
from trainer.data.open import open_corpus
from trainer.data.pictures import PictureStore
from trainer.data.splits import training_rows
from trainer.data.views import View
from trainer.training import looks
from trainer.training.batches import BrokenPictures
from trainer.training.looks import Gallery, Photos, Statistics, fit_looks
from trainer.training.presets import PRESETS, Stage
from trainer.training.starter import Starter
from trainer.training.triplets import Recipe, TripletSource
from trainer.training.warmup import align_pictures

STAGE = next(stage for stage in PRESETS["starter"].stages if stage.name == "looks")
COLUMNS = ("photo", "crop", "photo and crop")
Look = Callable[[Tensor], Tensor]
"""Statistics (pictures, channels) to unit vectors (pictures, dimensions)."""


@dataclass(frozen=True)
class Variant:
    """``distilled`` weighs how far a photo's looks may be from those of the crop beside it."""

    about: str
    temperature: float = looks.TEMPERATURE
    distilled: float = 0.0

    def fit(self, path: PicturePath, photos: Photos, gallery: Gallery, stage: Stage) -> None:
        contrast = looks.contrast

        def distilling(path: PicturePath, views: Tensor, counts: Sequence[int], *rest: Any) -> tuple[Tensor, float]:
            loss, found = contrast(path, views, counts, *rest)
            pairs = np.flatnonzero(np.asarray(counts) == 2)
            first = (np.cumsum(counts) - counts)[pairs]
            whole, crop = path.seen(views[first]), path.seen(views[first + 1]).detach()
            return loss + self.distilled * (1 - (whole * crop).sum(dim=1)).mean(), found

        with patch.object(looks, "TEMPERATURE", self.temperature), patch.object(looks, "contrast", distilling):
            fit_looks(path, photos, gallery, stage)


VARIANTS = (
    Variant("temperature 0.05 (the starter's)"),
    Variant("temperature 0.02", temperature=0.02),
    Variant("temperature 0.1", temperature=0.1),
    Variant("the crop distilled into the photo, weight 1", distilled=1.0),
    Variant("the crop distilled into the photo, weight 5", distilled=5.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a starter, whose tower is taken as it is")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0,))
    parser.add_argument("--steps", type=int, default=STAGE.steps)
    given = parser.parse_args()
    settings, home = read_settings(), HomeSet(ROOT / "demo")
    cache = settings.data / "trainer"
    corpus, store = open_corpus(home.root, cache=cache), PictureStore(cache, settings)
    module = load_module(given.model, torch.float32)
    starter = Starter(module, store.read, cache)
    rows = training_rows(corpus).train
    print(f"| | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}")
    found: dict[Variant | None, list[list[float]]] = {}
    for seed in given.seeds:
        recipe = Recipe(augment=True)
        source = TripletSource(corpus, rows, recipe, seed, lambda picture, _: picture.box, read=store.read)
        gallery = Gallery(source.of_pictures(), starter.statistics)
        start = deepcopy(module.model.moon_skip.pictures)
        align_pictures(start, gallery.statistics)
        found.setdefault(None, []).append(recalls(start.eval().seen, starter.statistics, home))
        for variant in VARIANTS:
            torch.manual_seed(seed)
            path = deepcopy(start)
            with tempfile.TemporaryDirectory() as folder:
                photos = Photos(source.of_pictures(), starter.statistics, BrokenPictures(Path(folder) / "broken.jsonl"))
                variant.fit(path, photos, gallery, Stage("looks", given.steps, STAGE.batch, STAGE.lr))
            found.setdefault(variant, []).append(recalls(path.eval().seen, starter.statistics, home))
    for row, runs in found.items():
        print(f"| {row.about if row else 'principal components'} | {' | '.join(map(cell, zip(*runs, strict=True)))} |")


@torch.no_grad()
def recalls(look: Look, statistics: Statistics, home: HomeSet) -> list[float]:
    """R@1 of the design by ``COLUMNS``, of development photos."""
    products = [product for product in home.products if product.split != "test"]
    photos = [photo for photo in home.photos if photo.split == "dev"]
    gallery = torch.stack([_of_product(look, statistics, home, product) for product in products])
    designs = np.array([product.product.group_id for product in products])
    wanted = np.array([photo.group_id for photo in photos])
    whole = torch.cat([look(statistics([view_of(home, photo, "whole")])) for photo in photos])
    crop = torch.cat([look(statistics([view_of(home, photo, "core")])) for photo in photos])
    shares = []
    for queries in (whole, crop, normalize(whole + crop, dim=1)):
        best = (queries @ gallery.T).argmax(dim=1).numpy()
        shares.append(float((designs[best] == wanted).mean()))
    return shares


def _of_product(look: Look, statistics: Statistics, home: HomeSet, product: HomeProduct) -> Tensor:
    views = [packshot(home, picture) for picture in product.product.images]
    return normalize(look(statistics(views)).mean(dim=0), dim=0)


def packshot(home: HomeSet, picture: str) -> View:
    return View(str((home.root / picture).absolute()))


def view_of(home: HomeSet, photo: Photo, cut: Any) -> View:
    return View(str((home.root / photo.path).absolute()), photo.box, cut)


def cell(values: Sequence[float]) -> str:
    """Their mean, and with several their least and largest."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
