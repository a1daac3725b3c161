"""A model that sees the colour in the middle of pictures and reads words, and a small shop for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.record import Item, Picture, Record
from trainer.evaluation.models.base import Content

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
WORDS = [*COLOURS, "chair", "table", "wood", "metal"]


class ColourModel:
    """One dimension per word, and one that everything shares; ``seen`` keeps what was embedded, in order."""

    family = "colours"

    def __init__(self, name: str = "colour words") -> None:
        self.name, self.dimensions = name, len(WORDS) + 1
        self.seen: list[tuple[Content, bool]] = []
        self.labels: list[tuple[str, str]] = []

    def embed(self, contents: Sequence[Content], *, is_query: bool) -> np.ndarray:
        self.seen += [(content, is_query) for content in contents]
        return np.stack([self._vector(content) for content in contents])

    def embed_labels(self, labels: Sequence[str], segment: str) -> np.ndarray:
        self.labels += [(label, segment) for label in labels]
        return np.stack([self._vector(Content(title=label)) for label in labels])

    def _vector(self, content: Content) -> np.ndarray:
        vector = np.zeros(self.dimensions, dtype=np.float32)
        vector[-1] = 0.1
        for word in content.text.lower().replace(":", " ").replace(",", " ").replace(".", " ").split():
            if word in WORDS:
                vector[WORDS.index(word)] += 1
        crops = content.crops or (None,) * len(content.images)
        for picture in (crop or image for image, crop in zip(content.images, crops, strict=True)):
            colour = picture.getpixel((picture.width // 2, picture.height // 2))
            vector[list(COLOURS.values()).index(colour)] += 1
        return vector / np.linalg.norm(vector)


def item(folder: Path, colour: str, kind: str, **more) -> Item:
    """``red chair`` with a picture of its colour."""
    path = folder / f"{colour}-{kind}.png"
    Image.new("RGB", (16, 16), COLOURS[colour]).save(path)
    own = {
        "title": f"{colour} {kind}",
        "pictures": (Picture(str(path)),),
        "category": ("Home", kind),
        "attributes": {"color": (colour,)},
        "group": kind,
    }
    return Item(f"{colour}-{kind}", **(own | more))


def photo(folder: Path, name: str, colour: str) -> Picture:
    """A photo with the colour in a corner, which its box shows."""
    image = Image.new("RGB", (40, 40), COLOURS["yellow"])
    image.paste(COLOURS[colour], (0, 0, 12, 12))
    image.save(folder / f"{name}.png")
    return Picture(str(folder / f"{name}.png"), (0.0, 0.0, 12.0, 12.0))


def tiny_shop(folder: Path, items: Sequence[Item], records: Sequence[Record], **info: str) -> Corpus:
    folder.mkdir(exist_ok=True)
    with CorpusWriter(folder / "corpus", {"name": "tiny", "format": "shop", "fingerprint": "f0", **info}) as writer:
        writer.add_catalog(items)
        for record in records:
            writer.add(record)
    return Corpus(folder / "corpus")
