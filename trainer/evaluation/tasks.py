"""The picture tasks of the home-goods evaluation: what is asked, what counts as right, and who answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from app.moon.boxes import iou
from app.moon.crops import usable_box
from app.schema import Box, Query
from trainer.data.home import PHOTO_SIZE, Photo
from trainer.evaluation.asked import Asked
from trainer.evaluation.baselines import centre_box
from trainer.evaluation.gallery import Gallery, crop, whole
from trainer.evaluation.metrics import Rankings, recall
from trainer.evaluation.scores import CENTRE, FUSED, LEXICAL, MOON, VISION, Scorer
from trainer.evaluation.wrong_photos import wrong_photos

PHOTOS, BOXES, ITEMS, MIXED = "customer photo", "core product", "item query", "photo + text"
OWN_BOX, TRUE_BOX = "whole photo, box by the model's detector", "whole photo and true box"
JOINT, PHOTO_ALONE, TEXT_ALONE = "photo, true box and text", "photo and true box alone", "text alone"
FOUND_BOX, OVERLAP = "box by the model's detector", "mean IoU with true box"
RIGHT_MODEL, RIGHT_SKU = "same model", "exact SKU"


def photo_rows(gallery: Gallery, scorer: Scorer) -> None:
    """Customer photos of held-out designs: by the model's own detector, by the true box, and without a crop.

    Also how well the detector's box fits the true one, photo + title, and photos that the true box does not help.
    """
    photos = [photo for photo in gallery.home.photos if photo.split == "test"]
    images = [gallery.read(photo.path) for photo in photos]
    titles = [gallery.products[gallery.rows[photo.product_id]].title for photo in photos]
    models = [_same_model(gallery, photo) for photo in photos]
    skus = [{gallery.rows[photo.product_id]} for photo in photos]
    vectors, found = gallery.embed([Query(image=image) for image in images], "photos, own detector")
    boxed = [Query(image=image, box=photo.box) for image, photo in zip(images, photos, strict=True)]
    uncropped = gallery.by_vision(images)
    by_true_box = gallery.by_moon(boxed, "photos, true box")
    rankings: dict[str, dict[str, Rankings | None]] = {
        OWN_BOX: {MOON: gallery.nearest(vectors), VISION: uncropped},
        TRUE_BOX: {
            MOON: by_true_box,
            VISION: gallery.by_vision([crop(image, photo.box) for image, photo in zip(images, photos, strict=True)]),
        },
        "whole photo, no crop": {
            MOON: gallery.by_moon([whole(image) for image in images], "photos, no crop"),
            VISION: uncropped,
        },
    }
    for query, answers in rankings.items():
        scorer.recalls(PHOTOS, query, RIGHT_MODEL, 1, answers, models)
        scorer.recalls(PHOTOS, query, RIGHT_MODEL, 10, answers, models)
        scorer.recalls(PHOTOS, query, RIGHT_SKU, 1, answers, skus)
    gallery.asked.append(Asked("photo", [""] * len(photos), vectors, models))
    scorer.wrong_photos = wrong_photos(photos, by_true_box, models, gallery.products)
    _box_row(gallery, scorer, photos, found)
    items = [Query(text=title, image=image) for title, image in zip(titles, images, strict=True)]
    answers = {MOON: gallery.by_moon(items, "photo + title"), VISION: uncropped, LEXICAL: gallery.bm25.rank(titles)}
    scorer.recalls(ITEMS, "whole photo + title", RIGHT_MODEL, 1, answers, models)
    scorer.recalls(ITEMS, "whole photo + title", RIGHT_SKU, 1, answers, skus)


def _same_model(gallery: Gallery, photo: Photo) -> set[int]:
    return {row for row, product in enumerate(gallery.products) if (product.group_id or product.id) == photo.group_id}


def _box_row(gallery: Gallery, scorer: Scorer, photos: Sequence[Photo], found: Sequence[Box | None]) -> None:
    """Boxes as they are cropped, padding included; no box stands for the whole photo."""
    training = [photo.box for photo in gallery.home.photos if photo.split == "train" and not photo.shows_test_model]
    middle = centre_box(training, PHOTO_SIZE, PHOTO_SIZE)
    true = [_cropped(photo.box) for photo in photos]
    values = {MOON: _ious([box or _cropped(None) for box in found], true)}
    values[CENTRE] = _ious([_cropped(middle)] * len(photos), true)
    scorer.add(BOXES, FOUND_BOX, OVERLAP, values)


def _cropped(box: Box | None) -> Box:
    return (box and usable_box(box, PHOTO_SIZE, PHOTO_SIZE)) or (0.0, 0.0, float(PHOTO_SIZE), float(PHOTO_SIZE))


def _ious(found: Sequence[Box], true: Sequence[Box]) -> NDArray[np.float64]:
    return iou(torch.tensor(found), torch.tensor(true)).numpy().astype(np.float64)


def mixed_rows(gallery: Gallery, scorer: Scorer) -> None:
    """A photo and a wish for another colour: right is the SKU wished for; the SKU in the photo ignores the words."""
    table = pl.read_parquet(gallery.home.root / "mixed_queries.parquet")
    texts, boxes = table["text"].to_list(), [_box(sides) for sides in table["box"]]
    photos = [gallery.read(path) for path in table["photo"]]
    relevant, ignored = (
        [{gallery.rows[key] for key in keys} for keys in table[column]]
        for column in ("relevant_product_ids", "wrong_if_top")
    )
    joint = [Query(text, image, box) for text, image, box in zip(texts, photos, boxes, strict=True)]
    seen = gallery.by_vision([crop(image, box) for image, box in zip(photos, boxes, strict=True)])
    lexical = gallery.bm25.rank(texts)
    alone = [Query(image=query.image, box=query.box) for query in joint]
    vectors, _ = gallery.embed(joint, "mixed queries")
    gallery.asked.append(Asked("both", texts, vectors, relevant))
    rankings: dict[str, dict[str, Rankings | None]] = {
        JOINT: {MOON: gallery.nearest(vectors), FUSED: gallery.by_fusion(texts, vectors, beside_photos=True)},
        PHOTO_ALONE: {MOON: gallery.by_moon(alone, "mixed queries, photo alone"), VISION: seen},
        TEXT_ALONE: {
            MOON: gallery.by_moon([Query(text=text) for text in texts], "mixed queries, text alone"),
            LEXICAL: lexical,
        },
    }
    for query, answers in rankings.items():
        scorer.recalls(MIXED, query, RIGHT_SKU, 1, answers, relevant)
    for query, answers in rankings.items():
        tops = {system: recall(own, ignored, 1) for system, own in answers.items() if own is not None}
        scorer.add(MIXED, query, "photo's own SKU on top (wrong)", tops)


def _box(sides: Sequence[float]) -> Box:
    x0, y0, x1, y1 = map(float, sides)
    return x0, y0, x1, y1
