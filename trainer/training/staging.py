"""Scenes of a corpus: packshots of its products in rooms of its training photos, always the same few (our decision)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from app.errors import BadInputError
from app.schema import Box
from trainer.data.corpus import NO_ROW, Corpus
from trainer.data.record import MODALITIES, Picture
from trainer.data.scenes import cut_out
from trainer.data.views import Read, View

SCENES = 1
"""Scenes of one packshot."""
LOOKED_AT = 20_000
"""Records whose pictures are looked at for rooms."""

FindBox = Callable[[Picture, str], Box | None]


class Scenes:
    """Scenes of the products of a corpus, in rooms of pictures of ``rows`` that have a box; ``read`` reads packshots.

    Safe to copy to workers; what was found about packshots stays with each.
    """

    def __init__(self, corpus: Corpus, rows: NDArray[np.int64], find_box: FindBox, read: Read) -> None:
        self._corpus, self._read = corpus, read
        self.rooms: list[Picture] = []
        self._shown: dict[str, int] = {}
        self._white: dict[str, bool] = {}
        asked = rows[(corpus.columns["modalities"][rows] >> MODALITIES.index("image") & 1).astype(bool)]
        for row in asked[:: len(asked) // LOOKED_AT + 1]:
            record = corpus.record(row)
            if (picture := record.picture) is None:
                continue
            if picture.location not in self._shown and (box := find_box(picture, record.text)) is not None:
                self.rooms.append(Picture(picture.location, box))
            if self._shown.setdefault(picture.location, record.positive) != record.positive:
                self._shown[picture.location] = NO_ROW

    def shown(self, location: str) -> int | None:
        """The row of the item that a picture shows, if it alone is the query for that item and no other."""
        row = self._shown.get(location, NO_ROW)
        return None if row == NO_ROW else row

    def draw(self, item: int, rng: random.Random) -> View | None:
        """A scene of one of an item's packshots; None if it has none that can be cut out."""
        pictures = self._corpus.item(item).pictures
        if not pictures or not self.rooms:
            return None
        picture, variant = rng.choice(pictures), rng.randrange(SCENES)
        return self._scene(picture.location, variant) if self._is_white(picture.location) else None

    def of(self, items: NDArray[np.int64]) -> Iterator[View]:
        """One scene of each of these items that has a packshot to cut out."""
        for item in items:
            if (view := self.draw(int(item), random.Random(int(item)))) is not None:  # noqa: S311
                yield view

    def _scene(self, location: str, variant: int) -> View:
        room = random.Random(f"{location}:room:{variant}").choice(self.rooms)  # noqa: S311
        return View(location, variant=variant, room=room)

    def _is_white(self, location: str) -> bool:
        if location not in self._white:
            try:
                self._white[location] = cut_out(self._read(location)) is not None
            except BadInputError:
                self._white[location] = False
        return self._white[location]
