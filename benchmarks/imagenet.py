"""What ImageNet's class vectors with their names, as further pairs of picture and text, bring to categories.

    python benchmarks/imagenet.py weights MODEL [--seeds 0 1 2]

WEIGHTS is the folder with the packages of `trainer starter`, whose tower has a classifier: a vector for each of a
thousand classes, which stands for a picture of that class. MODEL is a starter whose tower is frozen as ImageNet left it
and whose words are taught, for instance what `trainer starter` wrote. From the mean of the tower's last map a matrix
learns to place pictures at the words of their category, as the stage `looks` does, on training products, on the
classes, or on both. Prints a markdown table: share of development products whose category at level 2 and whose end of
the tree is the nearest by its words, from the first picture; mean over seeds and their least and largest.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from looks import cell, packshot
from torch import Tensor, nn

from app.moon.load import load_module
from app.moon.prompt import label_text
from app.moon.skip import PicturePath
from app.schema import category_levels
from app.settings import ROOT, read_settings
from trainer.checkpoints.starter import TOWER, TOWER_FILE
from trainer.data.home import HomeProduct, HomeSet
from trainer.data.pictures import PictureStore
from trainer.training.meanings import NONE, Labels, fit_meaning
from trainer.training.starter import Starter
from trainer.training.warmup import without_decoder

CLASSES = "media_assets/data/imagenet_labels.json"
"""Names of the thousand classes in their order, in the package of Gradio."""
LEVELS = (2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    given = parser.parse_args()
    settings, home = read_settings(), HomeSet(ROOT / "demo")
    cache = settings.data / "trainer"
    module = load_module(given.model, torch.float32)
    starter = Starter(module, PictureStore(cache, settings).read, cache)
    shown = [item for item in home.products if item.split != "test" and item.product.images]
    views = [packshot(home, item.product.images[0]) for item in shown]
    parts = (starter.stand_in.split(starter.tokens(views[start : start + 32]))[0] for start in range(0, len(views), 32))
    seen = torch.cat([maps.mean(dim=(2, 3)) for maps in parts])
    train = np.array([item.split == "train" for item in shown])
    with without_decoder(module, starter.encoding):
        classes = _class_labels(starter)
        kinds = [_category_labels(starter, shown, level) for level in LEVELS]
    directions = _class_vectors(given.weights)
    print(f"| pairs | {' | '.join(f'category level {level}' for level in LEVELS)} |\n| --- | ---: | ---: |")
    width = module.model.moon_skip.gate.shape[0]
    for about, own, others in (
        ("training products", True, False),
        ("ImageNet's classes", False, True),
        ("both", True, True),
    ):
        runs = []
        for seed in given.seeds:
            path = _path(seen[train], width)
            features, labels = _lessons(path, seen[train], [_rows(kind, train) for kind in kinds], directions, classes)
            chosen = slice(None if own else int(train.sum()), None if others else int(train.sum()))
            lessons = [Labels(kind.vectors, kind.places[chosen]) for kind in labels]
            torch.manual_seed(seed)
            fit_meaning(path, features[chosen], [kind for kind in lessons if (kind.places != NONE).any()], seed)
            runs.append([_accuracy(path, seen[~train], _rows(kind, ~train)) for kind in kinds])
        print(f"| {about} | {' | '.join(map(cell, zip(*runs, strict=True)))} |", flush=True)
    starter.give_back()


def _path(seen: Tensor, width: int) -> PicturePath:
    """A path whose looks are the standardised features themselves, with an untrained matrix to meaning."""
    path = PicturePath(seen.shape[1], width, seen.shape[1], 0.0)
    nn.init.eye_(path.looks.weight)
    path.centre.data = seen.mean(dim=0)
    path.spread.data = seen.std(dim=0).clamp(min=1e-3)
    return path


def _lessons(
    path: PicturePath, seen: Tensor, kinds: Sequence[Labels], directions: Tensor, classes: Tensor
) -> tuple[Tensor, list[Labels]]:
    """Features of products and then of classes, and the labels of both.

    The mean of a class is taken to lie from the centre in the direction of its vector, by the spread of each channel:
    the rule of a linear discriminant with independent channels (our choice).
    """
    pictures = path.centre + path.spread**2 * directions
    no_class, no_product = torch.full((len(seen),), NONE), torch.full((len(directions),), NONE)
    labels = [Labels(kind.vectors, torch.cat([kind.places, no_product])) for kind in kinds]
    labels.append(Labels(classes, torch.cat([no_class, torch.arange(len(directions))])))
    return torch.cat([seen, pictures]), labels


def _rows(kind: Labels, chosen: np.ndarray) -> Labels:
    return Labels(kind.vectors, kind.places[torch.from_numpy(chosen)])


@torch.no_grad()
def _accuracy(path: PicturePath, seen: Tensor, kind: Labels) -> float:
    known = kind.places != NONE
    found = (path.meaning(path.seen(seen)) @ kind.vectors.T).argmax(dim=1)
    return float((found == kind.places)[known].float().mean())


def _category_labels(starter: Starter, shown: Sequence[HomeProduct], level: int) -> Labels:
    """Words of all categories of a level, and each product's place among them."""
    paths = [category_levels(item.product.category)[:level] for item in shown]
    own = [label_text(path[-1], "category") if len(path) == level else "" for path in paths]
    names = sorted({name for name in own if name})
    places = torch.tensor([names.index(name) if name else NONE for name in own])
    return Labels(starter.embed_texts(names), places)


def _class_labels(starter: Starter) -> Tensor:
    names = json.loads(files("gradio").joinpath(CLASSES).read_text())
    return starter.embed_texts([label_text(name, "category") for name in names])


def _class_vectors(weights: Path) -> Tensor:
    """The classifier's weights (classes, channels of the last map)."""
    state = torch.load(io.BytesIO(TOWER.read(weights, TOWER_FILE)), weights_only=True, map_location="cpu")
    return state["_fc.weight"]


if __name__ == "__main__":
    main()
