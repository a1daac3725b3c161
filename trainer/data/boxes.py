"""Boxes of core products that a detector found in a data set's pictures, kept so that it runs once per picture."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL.Image import Image

from app.errors import CatalogError
from app.moon.crops import unpadded
from app.schema import Box
from trainer.data.corpus import Corpus
from trainer.data.keys import key
from trainer.data.pictures import original_box
from trainer.data.record import Picture

BOXES, INFO = "boxes.bin", "boxes.json"
FOUND, NONE, PLAIN = 1, 2, 3
"""A box; the detector saw none worth a crop; a packshot on plain ground, which needs none. 0 was never written."""
ROW = np.dtype([("key", "<i8"), ("box", "<f4", (4,)), ("state", "u1")])
"""The file is nothing but such rows, so that a write that was cut off costs one row."""


def picture_key(picture: Picture, title: str) -> int:
    """The key of a picture and of the title that guided the detector; an empty title where titles do not."""
    return key("picture", f"{picture.location}\0{title}" if title else picture.location)


class BoxCache:
    """Boxes by picture, in pixels of the original, upright picture and without padding, as those of a data set.

    Takes 12 bytes of memory per picture; copies for other processes read the file again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = _read_info(folder)
        self._rows = stored_rows(folder)
        order = np.argsort(self._rows["key"], kind="stable")
        self._keys = self._rows["key"][order]
        self._order = order.astype(np.uint32)

    @classmethod
    def open(cls, folder: Path, corpus: Corpus | None = None) -> BoxCache:
        """Raises CatalogError if `trainer detect` did not write the folder, or not for ``corpus``."""
        boxes = cls(folder)
        if corpus is not None and boxes.info["corpus"] != corpus.info["fingerprint"]:
            raise CatalogError(f"{folder}: boxes of another data set than {corpus.name}; detect this one")
        return boxes

    def __reduce__(self) -> tuple[type[BoxCache], tuple[Path]]:
        return type(self), (self.folder,)

    def __len__(self) -> int:
        """Pictures that were looked at."""
        return len(self._keys)

    def box(self, picture: Picture, title: str = "") -> Box | None:
        """The data set's own box, else the detector's, else None.

        ``title`` is that of the product, or the query's text: detectors that read it answer per title. Whoever crops
        pads the box with :func:`app.moon.crops.usable_box`, after :func:`trainer.data.pictures.shown_box`.
        """
        if picture.box is not None:
            return picture.box
        wanted = picture_key(picture, title if self.info["guided"] else "")
        place = int(np.searchsorted(self._keys, wanted))
        if place == len(self._keys) or self._keys[place] != wanted:
            return None
        row = self._rows[self._order[place]]
        if row["state"] != FOUND:
            return None
        x0, y0, x1, y1 = row["box"].tolist()
        return x0, y0, x1, y1


class BoxWriter:
    """Appends boxes to a folder; ``info`` names its ``corpus``, its ``detector``, and whether titles ``guided`` it.

    Use it as a context manager; a folder can be added to later, whatever ended the run before.

    Raises CatalogError if the folder holds boxes of another data set or detector, or another run adds to it.
    """

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self._folder, self._info = folder, dict(info)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._folder / "lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise CatalogError(f"{self._folder}: another run adds to it; wait for it to end") from None
        try:
            self._check_info()
            rows = stored_rows(self._folder)
            self.known: NDArray[np.int64] = np.array(rows["key"])
            self.states: NDArray[np.uint8] = np.array(rows["state"])
            os.truncate(self._folder / BOXES, len(rows) * ROW.itemsize)
            self._file = (self._folder / BOXES).open("ab")
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.release()

    def add(self, found: Mapping[int, tuple[Box | None, int]]) -> None:
        """Write a box, in pixels of the original picture, and a state by picture key."""
        rows = np.zeros(len(found), dtype=ROW)
        for row, (number, (box, state)) in zip(rows, found.items(), strict=True):
            row["key"], row["box"], row["state"] = number, box or (0, 0, 0, 0), state
        self._file.write(rows.tobytes())
        self._file.flush()

    def _check_info(self) -> None:
        if (self._folder / INFO).exists():
            if (stored := _read_info(self._folder)) != self._info:
                raise CatalogError(
                    f"{self._folder}: holds the boxes of {stored}, not of {self._info}; choose another folder"
                )
            return
        (self._folder / BOXES).touch()
        (self._folder / INFO).write_text(json.dumps(self._info, indent=2) + "\n")


def stored_rows(folder: Path) -> NDArray[np.void]:
    """The complete rows of a folder's file, memory-mapped, up to the first that was never written."""
    file = folder / BOXES
    count = file.stat().st_size // ROW.itemsize
    if not count:
        return np.zeros(0, dtype=ROW)
    rows = np.memmap(file, dtype=ROW, mode="r", shape=(count,))
    blank = np.flatnonzero(rows["state"] == 0)
    return rows[: blank[0]] if len(blank) else rows


def stored_box(box: Box, image: Image) -> Box:
    """A detector's box in pixels of the shown picture, as it is stored: without padding, for the original picture.

    :func:`app.moon.crops.usable_box` of the result is the detector's box again.
    """
    return original_box(unpadded(box, *image.size), image)


def _read_info(folder: Path) -> dict[str, Any]:
    try:
        info: dict[str, Any] = json.loads((folder / INFO).read_text())
    except (OSError, ValueError) as error:
        raise CatalogError(f"{folder}: no boxes ({error}); make them with `trainer detect`") from error
    return info
