"""From products to candidates: titles and pictures are made, checked by rules, and scored by the model."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.encoder import Embedder
from app.errors import BadInputError, ModelError
from app.moon.embedder import MAX_PICTURES
from app.schema import CATEGORY_SEPARATOR, Box, Product, Query
from trainer.augmentation.config import EDITED, TITLE, AugmentConfig
from trainer.augmentation.kept import Candidate, Kept
from trainer.augmentation.pictures import Made, NotPossibleError, Studio, Subject, is_sided
from trainer.augmentation.rooms import Rooms
from trainer.augmentation.titles import PROMPT, TitleMaker
from trainer.data.ahead import run_ahead
from trainer.data.pictures import PictureStore, shown_box
from trainer.data.record import Item, Picture

VERSION = 1
"""Raised whenever the same product would give something else."""
IMAGES = "images"
QUALITY = 90
"""Of WebP."""
UNREADABLE = "picture"
"""The kind of what is said of a picture that cannot be read."""

FindBox = Callable[[Picture, str], Box | None]
EditPicture = Callable[[Item, Image, random.Random], Image]


@dataclass
class Workbench:
    """What candidates are made with; ``write_title`` None for no titles, ``edit`` None for no edited pictures.

    ``rooms`` are None where no scenes are made. Pictures are written below ``out``.
    """

    config: AugmentConfig
    embedder: Embedder
    store: PictureStore
    find_box: FindBox
    rooms: Rooms | None
    write_title: TitleMaker | None
    edit: EditPicture | None
    out: Path

    def __post_init__(self) -> None:
        self._studio = Studio(self.rooms.photos if self.rooms else (), self.store.read)

    def source(self, item: Item) -> str:
        """The hash of all that shapes what is made of a product: its content, the settings and the models."""
        pictures = [(self._digest(own), self.find_box(own, item.title)) for own in item.pictures[:MAX_PICTURES]]
        wishes = {key: getattr(self.config, key) for key in ("titles", "pictures", "model", "editor", "seed")}
        if self.config.model is not None:
            wishes["prompt"] = PROMPT
        if self.rooms is not None and not self.rooms.photos:
            wishes["rooms"] = 0
        content = {**asdict(replace(item, id="", pictures=(), answers=())), "pictures": pictures}
        told = json.dumps([VERSION, wishes, self.embedder.fingerprint, content])
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

    def make(self, products: Sequence[tuple[str, Item]]) -> list[Kept]:
        """All that can be made of products, given with their sources, and its scores; pictures are made on threads."""
        drafts = list(run_ahead(self._draft, products, len(products)))
        for draft in drafts:
            self._add_title(draft)
            self._add_edited(draft)
        return scored(self.embedder, drafts)

    def _digest(self, picture: Picture) -> str:
        try:
            return self.store.digest(picture.location)
        except BadInputError:
            return ""

    def _draft(self, product: tuple[str, Item]) -> Draft:
        """A product's pictures, read, and what needs no model."""
        draft = Draft(*product)
        for place, picture in enumerate(draft.item.pictures[:MAX_PICTURES]):
            try:
                image = self.store.read(picture.location)
            except BadInputError as error:
                draft.add(Candidate(UNREADABLE, picture=place, reason=str(error)))
                continue
            box = self.find_box(picture, draft.item.title)
            shown = shown_box(box, image) if box is not None else None
            draft.subjects.append((place, Subject(image, shown, is_sided(draft.item))))
        for kind in self.config.pictures if draft.subjects else ():
            rng = draft.rng(kind)
            place, subject = rng.choice(draft.subjects)
            try:
                made = self._studio.make(kind, subject, rng)
            except (NotPossibleError, BadInputError) as error:
                draft.add(Candidate(kind, picture=place, reason=str(error)))
            else:
                self._add_picture(draft, kind, place, made)
        return draft

    def _add_title(self, draft: Draft) -> None:
        if self.write_title is None:
            return
        image = draft.subjects[0][1].image if draft.subjects else None
        title, reason = self.write_title(draft.item, image, draft.rng(TITLE))
        draft.add(Candidate(TITLE, title, reason=reason))

    def _add_edited(self, draft: Draft) -> None:
        if self.edit is not None and draft.subjects:
            rng = draft.rng(EDITED)
            place, subject = rng.choice(draft.subjects)
            self._add_picture(draft, EDITED, place, Made(self.edit(draft.item, subject.image, rng)))

    def _add_picture(self, draft: Draft, kind: str, place: int, made: Made) -> None:
        """Write it under its content's name, whole or not at all."""
        path = Path(IMAGES) / draft.source[:2] / f"{draft.source}-{kind}.webp"
        file = self.out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".tmp")
        made.image.save(unfinished, "WEBP", quality=QUALITY)
        unfinished.replace(file)
        room = self.rooms.told(made.room) if self.rooms and made.room else None
        draft.add(Candidate(kind, str(path), place, made.box, room), made.image)


@dataclass
class Draft:
    """A product by its source, those of its pictures that can be read with their places, and what is made of them."""

    source: str
    item: Item
    subjects: list[tuple[int, Subject]] = field(default_factory=list)
    candidates: list[tuple[Candidate, Image | None]] = field(default_factory=list)

    def rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.source}:{purpose}")  # noqa: S311

    def add(self, candidate: Candidate, image: Image | None = None) -> None:
        self.candidates.append((candidate, image))


def scored(embedder: Embedder, drafts: Sequence[Draft]) -> list[Kept]:
    """Candidates with their vectors as queries, and the cosines with their product and its category.

    Products without a title and pictures have no vector, and nothing of theirs is scored.
    """
    products = _product_vectors(embedder, drafts)
    places = [
        (place, number)
        for place, draft in enumerate(drafts)
        for number, (candidate, _) in enumerate(draft.candidates)
        if not candidate.reason and products[place] is not None
    ]
    queries = [_query(*drafts[place].candidates[number]) for place, number in places]
    vectors = dict(zip(places, embedder.embed_queries(queries)[0] if queries else (), strict=True))
    _check_finite(embedder, vectors.values())
    paths = sorted({CATEGORY_SEPARATOR.join(draft.item.category) for draft in drafts if draft.item.category})
    categories = dict(zip(paths, embedder.embed_labels(paths, "category") if paths else (), strict=True))

    def with_scores(place: int, number: int) -> Candidate:
        candidate, vector = drafts[place].candidates[number][0], vectors.get((place, number))
        if vector is None:
            return candidate
        category = categories.get(CATEGORY_SEPARATOR.join(drafts[place].item.category))
        near = None if category is None else float(vector @ category)
        return replace(candidate, vector=vector, score=float(vector @ products[place]), category_score=near)

    return [
        Kept(
            draft.source, products[place], tuple(with_scores(place, number) for number in range(len(draft.candidates)))
        )
        for place, draft in enumerate(drafts)
    ]


def _product_vectors(embedder: Embedder, drafts: Sequence[Draft]) -> list[Any]:
    """The vectors of the products as the catalog has them, None for one without title and pictures."""
    known = [place for place, draft in enumerate(drafts) if draft.item.title or draft.subjects]
    found: list[Any] = [None] * len(drafts)
    if known:
        products = [_product(drafts[place].item) for place in known]
        images = [[subject.image for _, subject in drafts[place].subjects] for place in known]
        vectors = embedder.embed_products(products, images)
        _check_finite(embedder, vectors)
        for place, vector in zip(known, vectors, strict=True):
            found[place] = vector
    return found


def _product(item: Item) -> Product:
    attributes = {name: list(values) for name, values in item.attributes.items()}
    return Product(id="1", title=item.title, category=list(item.category), attributes=attributes)


def _query(candidate: Candidate, image: Image | None) -> Query:
    return Query(candidate.what) if image is None else Query(image=image, box=candidate.box)


def _check_finite(embedder: Embedder, vectors: Iterable[NDArray[np.float32]]) -> None:
    if not all(np.isfinite(vector).all() for vector in vectors):
        raise ModelError(f"{embedder.name} gave vectors that are not numbers; augment with another checkpoint.")
