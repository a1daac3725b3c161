"""Batches of triplets as the features that :class:`~app.moon.transformer.MoonTransformer` takes."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import ImageOps
from PIL.Image import Image
from sentence_transformers.base.data_collator import BaseDataCollator
from torch import Tensor

from app.errors import BadInputError, CatalogError
from app.moon.prompt import model_input
from app.moon.transformer import MoonTransformer
from trainer.data.views import Read, View
from trainer.training.features import MapTower, TowerMaps
from trainer.training.triplets import Input, Triplet, TripletSource

logger = logging.getLogger(__name__)

COLUMNS = ("query", "positive", "negative")
ATTEMPTS = 16
"""Triplets in a row that may have unreadable pictures before a run gives up."""


class Encoding(Protocol):
    """Turns inputs into features; ``fetch`` gets a view ready and raises BadInputError if it cannot be read."""

    def fetch(self, views: Sequence[tuple[View, bool]]) -> Sequence[Any]: ...

    def features(self, texts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> dict[str, Any]: ...


class PixelEncoding:
    """Pictures are read, cut and handed to the model's own processor."""

    def __init__(self, module: MoonTransformer, read: Read) -> None:
        self._module, self._read = module, read

    def fetch(self, views: Sequence[tuple[View, bool]]) -> Sequence[Image]:
        read, found = cache(self._read), list[Image]()
        for view, mirror in views:
            image, box = view.taken(read)
            part = view.part(image, box)
            if found and view.cut != "whole" and part is None:
                continue  # as in the index: where the core is no use, nothing stands beside the picture
            shown = image if part is None else part
            found.append(ImageOps.mirror(shown) if mirror else shown)
        return found

    def features(self, texts: Sequence[str], pictures: Sequence[Sequence[Image]]) -> dict[str, Any]:
        return self._module.preprocess([model_input(own, text) for own, text in zip(pictures, texts, strict=True)])


class MapEncoding:
    """Kept feature maps take the place of pixels; ``tower`` must stand in the model's tower's place meanwhile.

    Every picture is written as ``visual_tokens`` tokens, as many as the model's projector makes of it.
    """

    def __init__(self, module: MoonTransformer, maps: TowerMaps, tower: MapTower) -> None:
        self._words, self._maps, self._tower = module.words, maps, tower
        self._harmless = module.harmless
        self._image = module.processor.image_token
        self.visual_tokens: int = module.model.config.image_seq_length

    def fetch(self, views: Sequence[tuple[View, bool]]) -> Sequence[Tensor]:
        if not views:
            return []
        maps = self._maps([view for view, _ in views])
        return [self._tower.mirrored(own) if mirror else own for own, (_, mirror) in zip(maps, views, strict=True)]

    def features(self, texts: Sequence[str], pictures: Sequence[Sequence[Tensor]]) -> dict[str, Any]:
        prompts = [
            self._words.bos_token + self._image * self.visual_tokens * len(own) + self._harmless(text)
            for own, text in zip(pictures, texts, strict=True)
        ]
        batch = dict(self._words(prompts, padding=True, return_tensors="pt", add_special_tokens=False))
        batch.pop("token_type_ids", None)
        batch["num_images_per_sample"] = torch.tensor([len(own) for own in pictures])
        if maps := [one for own in pictures for one in own]:
            batch["pixel_values"] = torch.stack(maps)
        return {**batch, "modality": "message"}


class BrokenPictures:
    """One line of JSON in ``file`` per record that was left out, written by every process of a run that meets it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: set[int] = set()

    def __len__(self) -> int:
        """Records that any process of the run has left out."""
        if not self.file.exists():
            return 0
        return len({json.loads(line)["record"] for line in self.file.read_text().splitlines()})

    def add(self, record: int, reason: str) -> None:
        if record in self._known:
            return
        self._known.add(record)
        logger.warning("record %d is left out: %s", record, reason)
        line = json.dumps({"record": record, "reason": reason, "time": round(time.time())}) + "\n"
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


@dataclass
class TripletCollator(BaseDataCollator):
    """Draw numbers to a batch: three columns of features, and their keys as ``label``, int64 (batch, 3, WIDTH)."""

    preprocess_fn: Callable[..., Any] = field(default=dict, repr=False)
    source: TripletSource = field(kw_only=True)
    encoding: Encoding = field(kw_only=True)
    broken: BrokenPictures = field(kw_only=True)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        drawn = [self._readable(row["number"]) for row in features]
        batch: dict[str, Any] = {}
        for place, column in enumerate(COLUMNS):
            inputs: list[Input] = [getattr(triplet, column) for triplet, _ in drawn]
            encoded = self.encoding.features([item.text for item in inputs], [pictures[place] for _, pictures in drawn])
            batch |= {f"{column}_{name}": value for name, value in encoded.items()}
        batch["label"] = torch.tensor([triplet.keys for triplet, _ in drawn], dtype=torch.int64)
        return batch

    def _readable(self, number: int) -> tuple[Triplet, list[Sequence[Any]]]:
        """A triplet with its pictures; one that cannot be read is reported and another one drawn in its place."""
        for attempt in range(ATTEMPTS):
            triplet = self.source.draw(number, attempt)
            try:
                return triplet, [self.encoding.fetch(getattr(triplet, column).views) for column in COLUMNS]
            except BadInputError as error:
                self.broken.add(triplet.record, str(error))
                reason = error
        raise CatalogError(
            f"{ATTEMPTS} records in a row have pictures that cannot be read, the last one: {reason} "
            "Check the data with `trainer validate`."
        )


def encode_inputs(encoding: Encoding, inputs: Sequence[Input]) -> dict[str, Any]:
    """Features of inputs outside of triplets, for validation."""
    return encoding.features([item.text for item in inputs], [encoding.fetch(item.views) for item in inputs])
