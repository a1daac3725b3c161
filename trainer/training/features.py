"""Output of a frozen vision tower, computed once per view and kept.

While the tower is frozen its output for a picture never changes, so training on a CPU reads it instead of running the
tower again in every step (our decision; for the starter's small tower, whose output is small too).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import astuple
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image, Resampling
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from app.errors import BadInputError
from app.moon.fast_tower import FastTower
from app.moon.tower import EfficientNetLiteModel, TowerOutput
from trainer.data.views import Read, View

logger = logging.getLogger(__name__)

SHARD_VIEWS = 1024
"""New views that are waited for before they are written."""
PICTURES = 4
"""Pictures per call of the tower: more cost a CPU more time for fresh memory than they save."""

LAYOUT = 4
"""Raised whenever something else is kept of a view."""


class TowerMaps:
    """Feature maps of views, float16 in memory and in shards of safetensors below ``cache``.

    ``grid`` pools the maps to the visual tokens that the tower hands on, and each is followed by the tower's
    statistics, all in one row (see :class:`MapTower`); None keeps the maps as they are, alone.
    """

    def __init__(self, tower: EfficientNetLiteModel, read: Read, cache: Path, grid: int | None) -> None:
        self._tower, self._read, self._cache, self._grid = tower, read, cache, grid
        self.open()

    def open(self) -> None:
        """Begin with what is kept for the tower's present weights."""
        self.__dict__.pop("_served", None)
        self._folder = self._cache / f"tower-{self._key()}"
        self._maps: dict[str, Tensor] = {}
        self._new: list[str] = []
        for shard in sorted(self._folder.glob("*.safetensors")):
            try:
                with safe_open(shard, framework="pt") as stored:
                    maps = stored.get_tensor("maps")
                    self._maps.update(zip(json.loads(stored.metadata()["views"]), maps, strict=True))
            except SafetensorError as error:  # cut off by a power failure or a full disk
                logger.warning("%s is damaged (%s); its views are computed again", shard, error)
                shard.unlink(missing_ok=True)

    def _key(self) -> str:
        return _key_of(self._tower, str(self._grid))

    def __call__(self, views: Sequence[View]) -> Tensor:
        """Maps of these views in this order, float32, (views, channels, height, width) or with a grid rows of numbers.

        Raises BadInputError for a picture that cannot be read.
        """
        names = [_name(view) for view in views]
        missing = {name: view for name, view in zip(names, views, strict=True) if name not in self._maps}
        for name, maps in zip(missing, self._compute(list(missing.values())), strict=True):
            self._maps[name] = maps
            self._new.append(name)
        if len(self._new) >= SHARD_VIEWS:
            self.save()
        return torch.stack([self._maps[name] for name in names]).float()

    def fill(self, views: Sequence[View]) -> list[str]:
        """Compute all of these views, with progress in the log; returns what was wrong with those that were not."""
        reasons = []
        for start in range(0, len(views), 64):
            part = views[start : start + 64]
            try:
                self(part)
            except BadInputError:
                for view in part:
                    try:
                        self([view])
                    except BadInputError as error:
                        reasons.append(str(error))
            if start % 1024 == 0:
                logger.info("tower features: %d of %d views", start, len(views))
        self.save()
        return reasons

    def known(self, views: Sequence[View]) -> Tensor:
        """What is kept of those of the views that could be computed, float32."""
        return torch.stack([self._maps[name] for view in views if (name := _name(view)) in self._maps]).float()

    def save(self) -> None:
        """Write the views that are new since the last time as one more shard."""
        if not self._new:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        shard = self._folder / f"{uuid.uuid4().hex}.safetensors"
        temporary = shard.with_suffix(f".{os.getpid()}")
        maps = torch.stack([self._maps[name] for name in self._new])
        save_file({"maps": maps}, temporary, metadata={"views": json.dumps(self._new)})
        temporary.replace(shard)
        self._new = []

    @cached_property
    def _served(self) -> EfficientNetLiteModel:
        """A copy of the tower as it is served: fast, the same within float noise."""
        tower = deepcopy(self._tower).eval()
        return FastTower.of(tower) if tower.device.type == "cpu" else tower

    @torch.inference_mode()
    def _compute(self, views: Sequence[View]) -> Iterator[Tensor]:
        size = self._tower.config.image_size
        with ThreadPoolExecutor(2) as pool:
            pixels = list(pool.map(lambda view: _pixels(view.show(self._read), size), views))
        for start in range(0, len(pixels), PICTURES):
            batch = torch.stack(pixels[start : start + PICTURES]).to(memory_format=torch.channels_last)
            yield from self._seen(batch).half().contiguous().clone()

    def _seen(self, pixels: Tensor) -> Tensor:
        maps, statistics = self._served.look(pixels)
        if self._grid is None:
            return maps
        return torch.cat([functional.adaptive_avg_pool2d(maps, self._grid).flatten(1), statistics], dim=1)


class LowerMaps(TowerMaps):
    """What goes into the tower's upper stages: rows of the map and of the statistics up to there, one per view.

    They stay as they are while the upper stages are trained.
    """

    def __init__(self, tower: EfficientNetLiteModel, read: Read, cache: Path) -> None:
        super().__init__(tower, read, cache, None)

    def _key(self) -> str:
        return _key_of(
            nn.ModuleList([self._tower.stem, *list(self._tower.blocks)[: self._tower.lower_blocks]]), "lower"
        )

    def split(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (views, numbers) to maps (views, channels, side, side) and statistics (views, channels)."""
        channels, below = self._tower.lower_channels, self._tower.lower_statistics_size
        side = math.isqrt((kept.shape[1] - below) // channels)
        return kept[:, :-below].unflatten(1, (channels, side, side)), kept[:, -below:]

    def _seen(self, pixels: Tensor) -> Tensor:
        maps, statistics = self._served.lower(pixels)
        return torch.cat([maps.flatten(1), statistics], dim=1)


class MapTower(nn.Module):
    """Takes the vision tower's place while it is frozen and is handed the tower's output instead of pixels."""

    def __init__(self, tower: EfficientNetLiteModel) -> None:
        super().__init__()
        self._shape = (tower.config.hidden_size, tower.config.grid, tower.config.grid)

    def forward(self, kept: Tensor, **kwargs: Any) -> TowerOutput:
        """Rows of :class:`TowerMaps` (pictures, numbers) come back as ``last_hidden_state`` and ``statistics``."""
        maps, statistics = self.split(kept)
        return TowerOutput(last_hidden_state=maps, statistics=statistics)

    def split(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Rows to pooled maps (pictures, channels, grid, grid) and statistics (pictures, statistics_size)."""
        size = math.prod(self._shape)
        return kept[:, :size].unflatten(1, self._shape), kept[:, size:]

    def mirrored(self, kept: Tensor) -> Tensor:
        """One row as if the picture had been mirrored; its statistics stay."""
        size = math.prod(self._shape)
        return torch.cat([kept[:size].view(self._shape).flip(2).flatten(), kept[size:]])


def _key_of(module: nn.Module, kept: str) -> str:
    weights = torch.cat([p.detach().flatten()[:64].float().cpu() for p in module.parameters()])
    return hashlib.blake2b(weights.numpy().tobytes() + f"{LAYOUT}:{kept}".encode(), digest_size=8).hexdigest()


def _name(view: View) -> str:
    return json.dumps(astuple(view))


def _pixels(image: Image, size: int) -> Tensor:
    data = torch.frombuffer(bytearray(image.resize((size, size), Resampling.BICUBIC).tobytes()), dtype=torch.uint8)
    return data.view(size, size, 3).permute(2, 0, 1).float() / 127.5 - 1.0
