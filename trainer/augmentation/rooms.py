"""Training photos that products may stand in, and whether a photo that one stood in is still such a photo."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.errors import BadInputError
from app.schema import Box
from trainer.augmentation.kept import Room
from trainer.data.ahead import run_ahead
from trainer.data.corpus import Corpus
from trainer.data.leakage import held_out_pictures
from trainer.data.pictures import PictureStore
from trainer.data.record import Picture
from trainer.training.staging import Scenes

AHEAD = 64


class Rooms:
    """Photos of the records ``train`` with a box; none that a development or test record asks with."""

    def __init__(
        self,
        corpus: Corpus,
        train: NDArray[np.int64],
        find_box: Callable[[Picture, str], Box | None],
        store: PictureStore,
    ) -> None:
        found = Scenes(corpus, train, find_box, store.read).rooms
        held_out = held_out_pictures(corpus, train, {room.location for room in found})
        self.photos = [room for room in found if room.location not in held_out]
        self._locations = {room.location for room in self.photos}
        self._store = store

    def told(self, photo: Picture) -> Room:
        """A photo by its place, and by its content, which stays the same where it is moved."""
        return photo.location, self._digest(photo.location)

    def hold(self, room: Room) -> bool:
        """Whether the photo is one of these, here or at another place."""
        location, digest = room
        return bool(digest) and (
            (location in self._locations and self._digest(location) == digest) or digest in self._digests
        )

    @cached_property
    def _digests(self) -> frozenset[str]:
        """Of all photos; read once, and only if one is not where it was."""
        return frozenset(run_ahead(self._digest, self._locations, AHEAD))

    def _digest(self, location: str) -> str:
        try:
            return self._store.digest(location)
        except BadInputError:
            return ""
