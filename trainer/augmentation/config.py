"""What `trainer augment` is asked for; free of heavy imports, so that the command line can show its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TITLE = "title"
TitleSource = Literal["fields", "model", "none"]
PictureKind = Literal["crop", "ground", "scene", "geometry", "light"]
PICTURES: tuple[PictureKind, ...] = ("crop", "ground", "scene", "geometry", "light")
EDITED = "edited"
"""Pictures of a generator."""
KINDS = (TITLE, *PICTURES, EDITED)


@dataclass(frozen=True)
class AugmentConfig:
    """Where titles come from, which kinds of pictures are made, and what is good enough.

    ``model`` writes the titles of ``titles="model"``, ``editor`` the ``edited`` pictures. ``min_score`` and
    ``min_category_score`` are the least cosines with the original product and with its category.
    """

    titles: TitleSource = "fields"
    pictures: tuple[PictureKind, ...] = PICTURES
    model: str | None = None
    editor: str | None = None
    min_score: float = 0.3
    min_category_score: float = 0.0
    limit: int | None = None
    seed: int = 0
