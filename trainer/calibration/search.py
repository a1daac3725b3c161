"""From which score on a hit is a best match or related, from development queries whose right answers are known."""

from __future__ import annotations

import random
from collections.abc import Sequence

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
"""Share of queries with a right answer whose best hit is below "related", of each kind of wording (our decision)."""
LEAST_HITS = 20
"""A threshold is kept by at least so many hits."""


def fit_search(gallery: Gallery, home: DevelopmentSet, seed: int) -> dict[Evidence, Thresholds]:
    """Thresholds by kind of query, in units of :class:`app.schema.Hit` scores."""
    asked = [*_texts(gallery, home, seed), _photos(gallery, home), _wishes(gallery, home)]
    answers: dict[Evidence, list[Answers]] = {}
    for one, own in zip(asked, answer(gallery.products, gallery.vectors, asked), strict=True):
        answers.setdefault(one.kind, []).append(own)
    return {kind: thresholds(own) for kind, own in answers.items()}


def thresholds(answers: Sequence[Answers]) -> Thresholds:
    """Best: so that ``RIGHT`` of the hits from there on are right. Related: so that few queries are told of nothing.

    ``answers`` are apart by kind of wording, and few of each kind are told of nothing: names, which share their words
    with the catalog and so score high, do not speak for phrases.
    """
    scores, right = (np.concatenate([getattr(own, name).ravel() for own in answers]) for name in ("scores", "right"))
    best = least(scores, right, RIGHT, LEAST_HITS)
    related = min(float(np.quantile(own.scores[:, 0], TOLD_NOTHING)) for own in answers)
    return Thresholds(best=best, related=related if best is None else min(related, best))


def _texts(gallery: Gallery, home: DevelopmentSet, seed: int) -> list[Asked]:
    """Names, and phrases for a kind; every product that the words may mean is right, of the training split too."""
    words = {
        (record.text, record.meaning)
        for record in split_records(home, "dev")
        if record.picture is None and record.segment == "title" and record.meaning
    }
    drawn = random.Random(seed).sample(sorted(words), min(QUERIES, len(words)))  # noqa: S311
    answers = [set(answers_of(item)) for item in home.products]
    right = [{row for row, own in enumerate(answers) if meaning in own} for _, meaning in drawn]
    texts = [text for text, _ in drawn]
    vectors = gallery.embed([Query(text=text) for text in texts], "texts")[0]
    names = {name for item in home.products for name in (item.product.title, *dict(item.names).values())}
    by_kind = [[row for row, text in enumerate(texts) if (text in names) == is_name] for is_name in (True, False)]
    return [
        Asked("text", [texts[row] for row in rows], vectors[rows], [right[row] for row in rows])
        for rows in by_kind
        if rows
    ]


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
