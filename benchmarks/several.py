"""How many of the products in a photo are found: by the core product detector alone, and looking through windows.

    python benchmarks/several.py [--pairs 150] [--sheet sheet.png]

Rooms are photos of the home-goods set's development split, each with the box of its product; the packshot of another
development product is pasted beside it, so that both boxes are known. A product is found if a box has an intersection
over union of more than a half with its own. The second row counts all boxes of `app.detection.products_in`. The last
column is of the photos as they were taken: boxes besides that of their product, which may show another product of the
room or nothing. `--sheet` draws some photos of both kinds: true boxes blue, the core product's red, all others green.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from torch import tensor

from app.detection import products_in
from app.moon import load_encoder
from app.moon.boxes import iou
from app.schema import Box, Query
from app.settings import ROOT, Settings, read_settings
from trainer.data.camera import photographed
from trainer.data.open import open_corpus
from trainer.data.pictures import PictureStore, shown_box
from trainer.data.scenes import Cutout, cut_out
from trainer.data.splits import training_rows
from trainer.training.detector import boxed_pictures

SIZES = (0.2, 0.55)
"""Longer side of the pasted product, in shares of the photo."""
COVERED = 0.25
"""Of either product, at most."""
TRIES = 16
COLUMNS, ROWS, TILE = 6, 4, 320

Photo = tuple[Image.Image, list[Box]]
"""A photo and the boxes of its products in its pixels."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--sheet", type=Path, help="picture to write")
    given = parser.parse_args(arguments)
    settings = read_settings()
    alone, pairs = photos(given.pairs, settings)
    embedder = load_encoder(settings)
    cores = [[box] for photo, _ in pairs for box in embedder.embed_queries([Query(image=photo)])[1] if box]
    seconds, found = [], []
    for photo, _ in pairs:
        start = time.perf_counter()
        found.append(products_in(embedder, photo))
        seconds.append(time.perf_counter() - start)
    beside = [products_in(embedder, photo) for photo, _ in alone]
    print(f"{embedder.name}, {len(pairs)} photos of two products, {len(alone)} as they were taken")
    print(f"products_in takes {1000 * np.median(seconds):.0f} ms a photo (median)\n")
    print("| boxes | products found | photos with both found | boxes of neither, a photo | the same as taken |")
    print("| --- | ---: | ---: | ---: | ---: |")
    print(f"{row('core product alone', cores, pairs)} - |")
    print(
        f"{row('products_in', found, pairs)} {np.mean([wrong(*one) for one in zip(beside, alone, strict=True)]):.2f} |"
    )
    if given.sheet:
        shown = COLUMNS * ROWS // 2
        drawn = [*zip(pairs, found, strict=True)][:shown] + [*zip(alone, beside, strict=True)][:shown]
        sheet(drawn).save(given.sheet)


def photos(number: int, settings: Settings) -> tuple[list[Photo], list[Photo]]:
    """Development photos with one known product, and at most ``number`` with a second one pasted in."""
    cache = settings.data / "trainer"
    corpus, store = open_corpus(ROOT / "demo", cache=cache), PictureStore(cache, settings)
    rows = training_rows(corpus).dev
    alone = []
    for picture in boxed_pictures(corpus, rows):
        image = store.read(picture.location)
        if picture.box:
            alone.append((image, [shown_box(picture.box, image)]))
    rng = random.Random(0)  # noqa: S311
    items = sorted({corpus.record(row).positive for row in rows})
    packshots = [picture.location for item in items for picture in corpus.item(item).pictures]
    cutouts = [cutout for location in packshots if (cutout := cut_out(store.read(location)))]
    tries = (paired(*rng.choice(alone), rng.choice(cutouts), rng) for _ in range(10 * number))
    return alone, [*islice(filter(None, tries), number)]


def paired(room: Image.Image, boxes: list[Box], product: Cutout, rng: random.Random) -> Photo | None:
    """The room with a second product where it covers the first one least; None if that is too much."""
    x0, y0, x1, y1 = product.mask.point(lambda value: 255 * (value > 127)).getbbox() or (0, 0, *product.mask.size)
    scale = min(room.size) * rng.uniform(*SIZES) / max(x1 - x0, y1 - y0)
    width, height = scale * (x1 - x0), scale * (y1 - y0)
    corners = [(rng.uniform(0, room.width - width), rng.uniform(0, room.height - height)) for _ in range(TRIES)]
    left, top = min(corners, key=lambda at: covered((*at, at[0] + width, at[1] + height), boxes[0]))
    box = (left, top, left + width, top + height)
    if covered(box, boxes[0]) > COVERED:
        return None
    size = max(1, round(product.mask.width * scale)), max(1, round(product.mask.height * scale))
    at = round(left - scale * x0), round(top - scale * y0)
    shade = Image.new("L", room.size, 255)
    shade.paste(product.shade.resize(size), at)
    scene = ImageChops.multiply(room, Image.merge("RGB", (shade, shade, shade)))
    scene.paste(product.packshot.resize(size), at, product.mask.resize(size))
    return photographed(scene, rng), [*boxes, box]


def covered(one: Box, other: Box) -> float:
    """Shared area as a share of the smaller box."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(0.0, width) * max(0.0, height) / max(smaller, 1e-9)


def row(name: str, found: Sequence[Sequence[Box]], pairs: Sequence[Photo]) -> str:
    hits = [
        [any(shows(box, own) for box in boxes) for own in true] for boxes, (_, true) in zip(found, pairs, strict=True)
    ]
    extra = np.mean([wrong(*one) for one in zip(found, pairs, strict=True)])
    return f"| {name} | {np.mean(hits):.3f} | {np.mean([all(own) for own in hits]):.3f} | {extra:.2f} |"


def wrong(boxes: Sequence[Box], photo: Photo) -> int:
    return sum(not any(shows(box, own) for own in photo[1]) for box in boxes)


def shows(box: Box, product: Box) -> bool:
    return bool(iou(tensor([box]), tensor([product])) > 0.5)


def sheet(drawn: Sequence[tuple[Photo, Sequence[Box]]]) -> Image.Image:
    paper = Image.new("RGB", (COLUMNS * TILE, ROWS * TILE), "white")
    for number, ((photo, true), found) in enumerate(drawn):
        small = photo.copy()
        small.thumbnail((TILE - 4, TILE - 4))
        pen, scale = ImageDraw.Draw(small), small.width / photo.width
        colours = ["blue"] * len(true) + ["red"] + ["green"] * (len(found) - 1)
        for box, colour in zip([*true, *found], colours, strict=False):
            pen.rectangle([side * scale for side in box], outline=colour, width=2)
        paper.paste(small, (number % COLUMNS * TILE, number // COLUMNS * TILE))
    return paper


if __name__ == "__main__":
    main()
