"""From which score on a hit is a best match or related, from development queries whose right answers are known."""

from __future__ import annotations

import random

import numpy as np

from app.calibration import Evidence, Thresholds
from app.images import read_image
from app.schema import Query
from trainer.data.home import DevelopmentSet
from trainer.data.home_corpus import answers_of, split_records
from trainer.data.record import Picture, Record
from trainer.evaluation.asked import Answers, Asked, answer
from trainer.evaluation.certainty import least
from trainer.evaluation.gallery import Gallery

QUERIES = 500
"""Texts that are asked, drawn from all names and phrases of development products."""
RIGHT = 0.8
"""Share of best matches that are to be right (our decision)."""
TOLD_NOTHING = 0.1
"""Share of queries with a right answer whose best hit is below "related" (our decision)."""
LEAST_HITS = 20
"""A threshold is kept by at least so many hits."""


def fit_search(gallery: Gallery, home: DevelopmentSet, seed: int) -> dict[Evidence, Thresholds]:
    """Thresholds by kind of query, in units of :class:`app.schema.Hit` scores."""
    asked = [_texts(gallery, home, seed), _photos(gallery, home), _wishes(gallery, home)]
    answers = answer(gallery.products, gallery.vectors, asked)
    return {one.kind: thresholds(own) for one, own in zip(asked, answers, strict=True)}


def thresholds(answers: Answers) -> Thresholds:
    """Best: so that ``RIGHT`` of the hits from there on are right. Related: so that few queries are told of nothing."""
    best = least(answers.scores.ravel(), answers.right.ravel(), RIGHT, LEAST_HITS)
    related = float(np.quantile(answers.scores[:, 0], TOLD_NOTHING))
    return Thresholds(best=best, related=related if best is None else min(related, best))


def _texts(gallery: Gallery, home: DevelopmentSet, seed: int) -> Asked:
    """Names and phrases; every product that the words may mean is right, those of the training split too."""
    words = {
        (record.text, record.meaning)
        for record in split_records(home, "dev")
        if record.picture is None and record.segment == "title" and record.meaning
    }
    drawn = random.Random(seed).sample(sorted(words), min(QUERIES, len(words)))  # noqa: S311
    answers = [set(answers_of(item)) for item in home.products]
    right = [{row for row, own in enumerate(answers) if meaning in own} for _, meaning in drawn]
    texts = [text for text, _ in drawn]
    return Asked("text", texts, gallery.embed([Query(text=text) for text in texts], "texts")[0], right)


def _photos(gallery: Gallery, home: DevelopmentSet) -> Asked:
    """Customer photos with the box of the model's own detector; every SKU of the model is right."""
    photos = [photo for photo in home.photos if photo.split == "dev"]
    vectors, _ = gallery.embed([Query(image=gallery.read(photo.path)) for photo in photos], "photos")
    groups: dict[str, set[int]] = {}
    for row, product in enumerate(gallery.products):
        groups.setdefault(product.group_id or product.id, set()).add(row)
    return Asked("photo", [""] * len(photos), vectors, [groups[photo.group_id] for photo in photos])


def _wishes(gallery: Gallery, home: DevelopmentSet) -> Asked:
    """A photo with its box and the wish for another colour, one wording for each; the SKU wished for is right."""
    wishes: dict[tuple[str, str], list[Record]] = {}
    for record in split_records(home, "dev"):
        if record.picture and record.modalities == ("both",) and _is_wish(record, gallery):
            wishes.setdefault((record.picture.location, str(record.positive)), []).append(record)
    drawn = [wordings[place % len(wordings)] for place, wordings in enumerate(wishes.values())]
    queries = [_query(record, record.picture, gallery) for record in drawn if record.picture]
    right = [{gallery.rows[str(record.positive)]} for record in drawn]
    return Asked("both", [query.text for query in queries], gallery.embed(queries, "photos and wishes")[0], right)


def _is_wish(record: Record, gallery: Gallery) -> bool:
    """Whether the hard negative is another SKU of the same model: the one in the photo."""
    if record.negative is None:
        return False
    wished, seen = (gallery.products[gallery.rows[key]] for key in (str(record.positive), str(record.negative)))
    return wished.id != seen.id and wished.group_id is not None and wished.group_id == seen.group_id


def _query(record: Record, picture: Picture, gallery: Gallery) -> Query:
    limits = {"max_bytes": gallery.settings.max_image_bytes, "max_pixels": gallery.settings.max_image_pixels}
    return Query(record.text, read_image(picture.location, **limits)[1], picture.box)
