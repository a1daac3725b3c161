"""Batches of triplets as the features that :class:`~app.moon.transformer.MoonTransformer` takes."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
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
from trainer.data.keys import padded
from trainer.data.record import MODALITIES
from trainer.data.views import Read, View
from trainer.losses.columns import ABSENT, FILLER
from trainer.losses.view_chances import ViewChances
from trainer.training.features import MapTower, TowerMaps
from trainer.training.inputs import Input, Triplet
from trainer.training.triplets import EVEN, TripletSource

logger = logging.getLogger(__name__)

COLUMNS = ("query", "positive", "negative")
PRODUCT = ("product_pictures", "product_words")
Ready = tuple[str, Sequence[Any]]
"""Text and fetched pictures of an input."""
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
    """Draw numbers to a batch: columns of features, and their keys as ``label``, int64 (batch, columns, WIDTH).

    The mixture and a budget have the ``COLUMNS``. A joint step has one per query modality instead, and where
    products are aligned with their own words two more, with one label. A row that a triplet lacks is left out of
    the features and has the key ``ABSENT``, see :class:`~trainer.losses.columns.Columns`; with ``fill``, for
    several processes, the drawn query stands there as a ``FILLER``. A budget's query is drawn by ``chances``,
    evenly without. ``samples``, int64 (batch, query columns, 3), says of every query its record, the item of its
    negative and its place in MODALITIES, -1 where there is none.
    """

    preprocess_fn: Callable[..., Any] = field(default=dict, repr=False)
    source: TripletSource = field(kw_only=True)
    encoding: Encoding = field(kw_only=True)
    broken: BrokenPictures = field(kw_only=True)
    chances: ViewChances | None = field(kw_only=True, default=None)
    fill: bool = field(kw_only=True, default=False)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        drawn = [self._readable(row["number"]) for row in features]
        batch: dict[str, Any] = {}
        for column in self.columns:
            own = [inputs[column] for _, inputs in drawn if column in inputs]
            if own:
                encoded = self.encoding.features([text for text, _ in own], [pictures for _, pictures in own])
                batch |= {f"{column}_{name}": value for name, value in encoded.items()}
        batch["label"] = torch.tensor([self._label(triplet, inputs) for triplet, inputs in drawn], dtype=torch.int64)
        batch["samples"] = torch.tensor([self._samples(triplet) for triplet, _ in drawn], dtype=torch.int64)
        return batch

    @property
    def columns(self) -> list[str]:
        """Names of all that a batch can have, in the order that the loss expects."""
        products = PRODUCT if self.source.recipe.intra else ()
        return [*self._query_columns(), *COLUMNS[1:], *products]

    def _query_columns(self) -> list[str]:
        return [*dict.fromkeys(self.source.query_columns.values())]

    def _samples(self, triplet: Triplet) -> list[tuple[int, int, int]]:
        found = {
            self.source.query_columns[view.modality]: (
                view.record,
                triplet.negative_item,
                MODALITIES.index(view.modality),
            )
            for view in triplet.queries
        }
        return [found.get(column, (-1, -1, -1)) for column in self._query_columns()]

    def _label(self, triplet: Triplet, inputs: Mapping[str, Ready]) -> list[Sequence[int]]:
        """Keys by column; the two of a product have one."""
        keys = {self.source.query_columns[view.modality]: view.keys for view in triplet.queries}
        keys |= dict(zip(COLUMNS[1:], triplet.document_keys, strict=True))
        if triplet.words:
            keys[PRODUCT[0]] = triplet.product_keys
        return [
            keys.get(column) or padded([FILLER if column in inputs else ABSENT])
            for column in self.columns
            if column != PRODUCT[1]
        ]

    def _readable(self, number: int) -> tuple[Triplet, dict[str, Ready]]:
        """A triplet with what each column reads; one that cannot be read is reported, and another drawn instead."""
        chances = EVEN if self.chances is None else self.chances.of_draw(number)
        for attempt in range(ATTEMPTS):
            triplet = self.source.draw(number, attempt, chances)
            record = triplet.record
            try:
                inputs: dict[str, Ready] = {}
                for view in triplet.queries:
                    record = view.record
                    inputs[self.source.query_columns[view.modality]] = self._read(view.input)
                drawn, record = next(iter(inputs.values())), triplet.record
                inputs |= {"positive": self._read(triplet.positive), "negative": self._read(triplet.negative)}
            except BadInputError as error:
                self.broken.add(record, str(error))
                reason = error
                continue
            if triplet.words:
                inputs |= zip(PRODUCT, [("", inputs["positive"][1]), (triplet.words, [])], strict=True)
            if self.fill:
                inputs = dict.fromkeys(self._fillable(), drawn) | inputs
            return triplet, inputs
        raise CatalogError(
            f"{ATTEMPTS} records in a row have pictures that cannot be read, the last one: {reason} "
            "Check the data with `trainer validate`."
        )

    def _fillable(self) -> list[str]:
        """Columns that all processes have: what the data cannot give, none has."""
        impossible = {*self.source.query_columns.values()} - self.source.possible_columns
        return [column for column in self.columns if column not in impossible]

    def _read(self, item: Input) -> Ready:
        return item.text, self.encoding.fetch(item.views)


def encode_inputs(encoding: Encoding, inputs: Sequence[Input]) -> dict[str, Any]:
    """Features of inputs outside of triplets, for validation."""
    return encoding.features([item.text for item in inputs], [encoding.fetch(item.views) for item in inputs])
