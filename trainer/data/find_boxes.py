"""Run a detector once over every picture of a data set."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from PIL.Image import Image

from app.errors import BadInputError
from app.moon.detect import Detector, has_plain_ground
from app.schema import Box
from trainer.data.ahead import run_ahead
from trainer.data.boxes import FOUND, NONE, PLAIN, BoxWriter, picture_key, stored_box
from trainer.data.corpus import Corpus
from trainer.data.pictures import PictureStore
from trainer.data.record import Picture

UNREADABLE = "unreadable.txt"


@dataclass
class Found:
    """Numbers of pictures: with the data set's ``own`` box, with a ``box`` of the detector, on ``plain`` ground, with
    ``none`` worth a crop, ``unreadable``. An ``earlier`` run looked at so many of them."""

    own: int
    box: int
    plain: int
    none: int
    unreadable: int
    earlier: int


@dataclass(frozen=True)
class _Read:
    key: int
    title: str
    image: Image | None = None
    reason: str = ""
    plain: bool = False


def find_boxes(
    corpus: Corpus,
    detector: Detector,
    store: PictureStore,
    folder: Path,
    identity: str,
    *,
    guided: bool,
    batch_size: int,
    track: Callable[[Sequence[int], str], Iterable[int]],
) -> Found:
    """Add what ``detector`` finds to the boxes in ``folder``; pictures that are there are not looked at again.

    ``identity`` tells the detector from others, ``guided`` whether it reads titles. Queries are guided by their text,
    items by their title. Pictures that cannot be read are listed in ``unreadable.txt`` and tried again next time.
    """
    info = {"corpus": corpus.info["fingerprint"], "detector": identity, "guided": guided}
    with BoxWriter(folder, info) as writer, (folder / UNREADABLE).open("w") as unreadable:
        chosen, own = _unknown(corpus, writer.known, guided)
        states = np.bincount(writer.states, minlength=PLAIN + 1)
        box, plain, none = (int(states[state]) for state in (FOUND, PLAIN, NONE))
        found = Found(own, box, plain, none, unreadable=0, earlier=len(writer.known))

        def read(wanted: tuple[Picture, str]) -> _Read:
            picture, title = wanted
            number, title = picture_key(picture, title if guided else ""), title if guided else ""
            try:
                image = store.read(picture.location)
            except BadInputError as error:
                return _Read(number, title, reason=str(error))
            return _Read(number, title, image, plain=has_plain_ground(image))

        ahead = run_ahead(read, compress(_pictures(corpus), chosen), 4 * batch_size)
        waiting: list[_Read] = []
        for _, one in zip(track(range(int(chosen.sum())), "pictures"), ahead, strict=True):
            if one.image is None:
                unreadable.write(f"{one.reason}\n")
                found.unreadable += 1
            else:
                waiting.append(one)
            if len(waiting) == batch_size:
                _detect(detector, waiting, writer, found)
                waiting.clear()
        _detect(detector, waiting, writer, found)
    return found


def _detect(detector: Detector, pictures: Sequence[_Read], writer: BoxWriter, found: Found) -> None:
    results: dict[int, tuple[Box | None, int]] = {one.key: (None, PLAIN) for one in pictures if one.plain}
    found.plain += len(results)
    looked_at = [(one, one.image) for one in pictures if one.image is not None and not one.plain]
    if looked_at:
        boxes = detector.detect([image for _, image in looked_at], [one.title for one, _ in looked_at])
        for (one, image), box in zip(looked_at, boxes, strict=True):
            results[one.key] = (stored_box(box, image), FOUND) if box is not None else (None, NONE)
            found.box += box is not None
            found.none += box is None
    writer.add(results)


def _unknown(corpus: Corpus, known: np.ndarray, guided: bool) -> tuple[np.ndarray, int]:
    """Which pictures, in the order of ``_pictures``, need a look, each once; and how many have a box of their own."""
    keys = array("q")
    for picture, title in _pictures(corpus):
        number = picture_key(picture, title if guided else "")
        keys.append(number if picture.box is None else -number)
    numbers = np.frombuffer(keys, dtype=np.int64)
    distinct, first = np.unique(numbers, return_index=True)
    chosen = np.zeros(len(numbers), dtype=np.bool_)
    chosen[first] = (distinct > 0) & ~np.isin(distinct, known)
    return chosen, int((distinct < 0).sum())


def _pictures(corpus: Corpus) -> Iterator[tuple[Picture, str]]:
    """Every picture with what its product is called: the queries', then the items'."""
    for row in range(corpus.records):
        record = corpus.record(row)
        if record.picture is not None:
            yield record.picture, record.text
    for row in range(corpus.items):
        item = corpus.item(row)
        for picture in item.pictures:
            yield picture, item.title
