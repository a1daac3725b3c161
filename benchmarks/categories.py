"""How likeness to labels and a vote of neighbours should join to predict categories, on development designs.

    python benchmarks/categories.py [MODEL] [--votes 0 0.1 0.3 0.5 1] [--neighbours 20] [--temperature 0.05]

Development products by their first picture, without and with the title, and customer photos of them cut to the true
box; training products vote. Categories of all SKUs but those of the test split compete. Prints a markdown table: share
of right categories at level 2 and at the end of the tree, by what votes count.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from fusion import embed_products
from PIL.Image import Image

from app.calibration import CATEGORY, VOTERS, Competition, probabilities, shares
from app.encoder import Embedder, Vectors
from app.images import read_image
from app.moon import load_encoder
from app.schema import CATEGORY_SEPARATOR, Product
from app.settings import ROOT, Settings, read_settings
from trainer.data.home import HomeSet
from trainer.evaluation.gallery import batches, crop

Shown = tuple[str, Vectors, list[list[str]]]
"""What is shown, its vectors, and the true category path of each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=Settings().model, metavar="MODEL", help="checkpoint")
    parser.add_argument("--votes", nargs="+", type=float, default=(0.0, 0.1, 0.3, 0.5, 1.0))
    parser.add_argument("--neighbours", type=int, default=VOTERS)
    parser.add_argument("--temperature", type=float, default=CATEGORY.temperature)
    given = parser.parse_args()
    home, settings = HomeSet(ROOT / "demo"), read_settings(model=given.model)
    encoder = load_encoder(settings)
    train = [item for item in home.products if item.split == "train" and item.product.category]
    voters = np.concatenate([embed_products(encoder, part, settings) for part in batches(train, 8)])
    categories = sorted({_end(item.product.category) for item in home.products if item.split != "test"} - {""})
    carried = shares(
        {path: column for column, path in enumerate(categories)}, [[_end(item.product.category)] for item in train]
    )
    labels = encoder.embed_labels(categories, "category")
    shown = list(_shown(home, encoder, settings))
    print(f"| votes count | {' | '.join(f'{name} ({len(true)})' for name, _, true in shown)} |")
    print(f"| --- |{' ---: |' * len(shown)}")
    for vote in given.votes:
        cells, how = [], Competition(temperature=given.temperature, vote=vote)
        for _, vectors, true in shown:
            likeness = vectors @ voters.T
            nearest = np.argsort(-likeness, axis=1)[:, : given.neighbours]
            joined = probabilities(
                vectors @ labels.T, np.take_along_axis(likeness, nearest, axis=1), carried[nearest], how
            )
            right = [
                _right(dict(zip(categories, own, strict=True)), path) for own, path in zip(joined, true, strict=True)
            ]
            cells.append(" / ".join(f"{share:.3f}" for share in np.mean(right, axis=0)))
        print(f"| {vote:g} | {' | '.join(cells)} |")


def _shown(home: HomeSet, encoder: Embedder, settings: Settings) -> Iterator[Shown]:
    dev = [item.product for item in home.products if item.split == "dev" and item.product.category]
    owner = {product.id: product for product in dev}
    pictured = [product for product in dev if product.images]
    pictures = [_read(product.images[0], settings) for product in pictured]
    photos = [photo for photo in home.photos if photo.split == "dev" and photo.product_id in owner]
    crops = [crop(_read(photo.path, settings), photo.box) for photo in photos]
    paths = [product.category for product in pictured]
    yield "picture", _embed(encoder, pictures, [""] * len(pictures)), paths
    yield "picture and title", _embed(encoder, pictures, [product.title for product in pictured]), paths
    yield (
        "customer photo",
        _embed(encoder, crops, [""] * len(crops)),
        [owner[photo.product_id].category for photo in photos],
    )


def _embed(encoder: Embedder, images: Sequence[Image], titles: Sequence[str]) -> Vectors:
    parts = batches(list(zip(images, titles, strict=True)), 8)
    return np.concatenate(
        [
            encoder.embed_products([Product(id="?", title=title) for _, title in part], [[image] for image, _ in part])
            for part in parts
        ]
    )


def _right(probabilities: dict[str, float], path: Sequence[str]) -> tuple[bool, bool]:
    """Whether the most probable category of level 2, and of the ends of the tree, is the true one."""
    second: dict[str, float] = {}
    for category, probability in probabilities.items():
        parent = _end(category.split(CATEGORY_SEPARATOR)[:2])
        second[parent] = second.get(parent, 0.0) + probability
    return _best(second) == _end(path[:2]), _best(probabilities) == _end(path)


def _best(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=probabilities.__getitem__)


def _end(path: Sequence[str]) -> str:
    return CATEGORY_SEPARATOR.join(path)


def _read(path: str, settings: Settings) -> Image:
    limits = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
    return read_image(str(ROOT / "demo" / path), **limits)[1]


if __name__ == "__main__":
    main()
