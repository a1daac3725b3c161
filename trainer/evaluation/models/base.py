"""What an evaluation shows a model, and what it asks of it, whatever the model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from app.errors import BadInputError
from app.schema import CATEGORY_SEPARATOR

Vectors = NDArray[np.float32]
"""Rows of unit length, shape (items, dimensions)."""

Segment = Literal["category", "attribute"]


@dataclass(frozen=True)
class Content:
    """One query or product as a model sees it; whatever is missing stays empty.

    ``images`` are decoded RGB pictures, ``crops`` the core product of each picture or None where there is none; empty
    ``crops`` leave the search for core products to the model. Raises BadInputError for content without anything in it.
    """

    images: tuple[Image, ...] = ()
    crops: tuple[Image | None, ...] = ()
    title: str = ""
    category: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.images or self.text):
            raise BadInputError("There is nothing to embed: no picture, title, category or attribute; drop the item.")
        if self.crops and len(self.crops) != len(self.images):
            raise BadInputError(
                f"{self.title or 'An item'} has {len(self.images)} pictures but {len(self.crops)} crops; give one crop "
                "per picture, None where there is none."
            )

    @property
    def text(self) -> str:
        """Title, category and attributes as one line, for models without segments (our decision).

        >>> Content(title="Red chair", category=("Seats", "Chairs"), attributes={"color": ("red",)}).text
        'Red chair. Seats > Chairs. color: red'
        """
        pairs = [f"{key}: {value}" for key in sorted(self.attributes) for value in self.attributes[key]]
        parts = (self.title, CATEGORY_SEPARATOR.join(self.category), ", ".join(pairs))
        return ". ".join(part for part in map(str.strip, parts) if part)


class EmbeddingModel(Protocol):
    """MOON or one of the models that it is measured against."""

    @property
    def name(self) -> str:
        """The model's name as shown in tables."""

    @property
    def family(self) -> str:
        """The kind of model: "MOON", "CLIP", "SigLIP", ..."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""

    def embed(self, contents: Sequence[Content], *, is_query: bool) -> Vectors:
        """Unit vectors in the order of ``contents``, shape (contents, dimensions)."""

    def embed_labels(self, labels: Sequence[str], segment: Segment) -> Vectors:
        """Unit vectors of category paths ("Furniture > Sofas") or attribute values ("color: red"), in their order."""
