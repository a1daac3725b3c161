"""Queries and products as models are shown them, by modality. Pictures are decoded here, and broken ones counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from PIL.Image import Image

from app.errors import BadInputError
from app.moon.crops import cropped, usable_box
from app.moon.embedder import MAX_PICTURES
from app.schema import Box
from trainer.data.corpus import StoredRecord
from trainer.data.pictures import shown_box
from trainer.data.record import Item, Modality, Picture
from trainer.evaluation.models.base import Content

View = Modality | Literal["unlabelled"]
"""What of a query or product is shown. Unlabelled: pictures and title, for the prediction of the rest (see below)."""

Contents = Mapping[View, Content]
FindBox = Callable[[Picture, str], Box | None]
"""The core product's box in pixels of the original picture, which a text may guide: see :mod:`trainer.data.boxes`."""


class ContentReader:
    """Reads pictures with ``read``; ``find_box`` knows their core products, without it only the data do.

    With it or with boxes in the data nothing else is cropped; without, models look for core products themselves.
    ``broken`` holds the reason by location of pictures that cannot be read. What is left of a product or query is
    shown; a view with nothing left is missing.
    """

    def __init__(self, read: Callable[[str], Image], find_box: FindBox | None = None) -> None:
        self._read, self._find_box = read, find_box
        self.broken: dict[str, str] = {}

    def product(self, item: Item, *, unlabelled: bool) -> Contents:
        """Image: pictures; text: title, category and attributes; both: all of it.

        Unlabelled leaves category and attributes out, so that no prediction is read off its own label (our decision).
        """
        images, crops = self._pictures(item.pictures[:MAX_PICTURES], item.title)
        found: dict[View, Content] = {}
        if images:
            found["image"] = Content(images, crops)
        if item.title or item.category or any(item.attributes.values()):
            found["text"] = Content((), (), item.title, item.category, item.attributes)
        if found:
            found["both"] = Content(images, crops, item.title, item.category, item.attributes)
        if unlabelled and (images or item.title):
            found["unlabelled"] = Content(images, crops, item.title)
        return found

    def query(self, record: StoredRecord) -> Contents:
        """The modalities that the record is for; without a readable picture, text alone stands for both."""
        shown = record.picture is not None and record.modalities != ("text",)
        images, crops = self._pictures((record.picture,) if shown and record.picture else (), record.text)
        found: dict[View, Content] = {}
        for modality in record.modalities:
            content_images, content_crops = (images, crops) if modality != "text" else ((), ())
            text = record.text if modality != "image" else ""
            if content_images or text.strip():
                found[modality] = Content(content_images, content_crops, text)
        return found

    def _pictures(
        self, pictures: tuple[Picture, ...], title: str
    ) -> tuple[tuple[Image, ...], tuple[Image | None, ...]]:
        """Pictures that can be read, and their crops; without any known box no crops, so that models look for them."""
        images, crops, boxed = [], [], self._find_box is not None
        for picture in pictures:
            try:
                image = self._read(picture.location)
            except BadInputError as error:
                self.broken[picture.location] = str(error)
                continue
            box = self._find_box(picture, title) if self._find_box else picture.box
            images.append(image)
            crops.append(_crop(image, shown_box(box, image)) if box else None)
            boxed |= box is not None
        return tuple(images), tuple(crops) if boxed and images else ()


def _crop(image: Image, box: Box) -> Image | None:
    """The box with the usual padding; None for boxes that are no use."""
    used = usable_box(box, *image.size)
    return cropped(image, used) if used else None
