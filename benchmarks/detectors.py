"""What finds the core product of a photo: a learned head, the similarity of visual tokens, or a fixed box.

    python benchmarks/detectors.py [MODEL]

Photos of development designs, each with the crop that a detector finds beside it, among all SKUs but those of the test
split (packshots, which need no crop). Prints a markdown table: mean IoU with the true box, R@1 of the design, and
milliseconds per photo for detection. Where nothing is found the whole picture counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from fusion import embed_products
from PIL.Image import Image

from app.images import read_image
from app.moon.boxes import iou
from app.moon.embedder import load_detector, load_encoder
from app.schema import Box, Query
from app.settings import ROOT, Settings, read_settings
from trainer.data.home import HomeSet
from trainer.evaluation.gallery import batches
from trainer.evaluation.metrics import rank, recall

Found = tuple[str, list[Box | None], float]
"""A way's name, a box per photo, and the seconds that all of them took."""
CENTRE = 0.7
"""Side of the fixed box as a share of the picture's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=Settings().model, metavar="MODEL", help="checkpoint")
    model = parser.parse_args().model
    home, settings = HomeSet(ROOT / "demo"), read_settings(model=model, detector="none")
    products = [product for product in home.products if product.split != "test"]
    photos = [photo for photo in home.photos if photo.split == "dev"]
    limits = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
    images = [read_image(str(home.root / photo.path), **limits)[1] for photo in photos]
    true = [photo.box for photo in photos]
    encoder = load_encoder(settings)
    gallery = np.concatenate([embed_products(encoder, part, settings) for part in batches(products, 8)])
    designs = [product.product.group_id for product in products]
    wanted = [{row for row, design in enumerate(designs) if design == photo.group_id} for photo in photos]
    print("| core product by | IoU | R@1 | ms per photo |\n| --- | ---: | ---: | ---: |")
    ways: list[Found] = [
        *(_found(name, model, images) for name in ("learned", "saliency")),
        ("the middle of the photo", [_centre(image) for image in images], 0.0),
        ("nothing: the whole photo", [None] * len(images), 0.0),
        ("the true box", [*true], 0.0),
    ]
    for name, boxes, seconds in ways:
        asked = [Query(image=image, box=box) for image, box in zip(images, boxes, strict=True)]
        vectors = np.concatenate([encoder.embed_queries(part)[0] for part in batches(asked, 8)])
        found = recall(rank(vectors @ gallery.T), wanted, 1).mean()
        whole = [box or (0.0, 0.0, *map(float, image.size)) for image, box in zip(images, boxes, strict=True)]
        overlap = iou(torch.tensor(whole), torch.tensor(true)).mean().item()
        print(f"| {name} | {overlap:.3f} | {found:.3f} | {1000 * seconds / len(images):.1f} |", flush=True)


def _found(name: str, model: str, images: Sequence[Image]) -> Found:
    detector = load_detector(read_settings(model=model, detector=name))
    start = time.perf_counter()
    boxes = [detector.detect([image], [""])[0] for image in images]
    return name, boxes, time.perf_counter() - start


def _centre(image: Image) -> Box:
    width, height = image.size
    rest = (1 - CENTRE) / 2
    return rest * width, rest * height, (1 - rest) * width, (1 - rest) * height


if __name__ == "__main__":
    main()
