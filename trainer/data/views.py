"""Pictures as a frozen vision tower sees them, computed once and kept.

While the tower is frozen its output for a picture never changes, so training on a CPU reads feature maps instead of
running the tower again in every step (our decision; the same holds for any frozen tower).
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from app.images import decode_image
from app.moon.tower import EfficientNetLiteModel
from app.schema import Box

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """A picture, or the part of it inside ``crop`` (pixels of the picture)."""

    path: str
    crop: Box | None = None


def padded(box: Box, margin: float, width: int, height: int) -> Box:
    """``box`` grown by ``margin`` of its size on every side, clipped to the picture."""
    dx, dy = (box[2] - box[0]) * margin, (box[3] - box[1]) * margin
    return max(0.0, box[0] - dx), max(0.0, box[1] - dy), min(float(width), box[2] + dx), min(float(height), box[3] + dy)


def loose_crop(box: Box, width: int, height: int, rng: random.Random) -> Box:
    """A crop that misses the box as a detector would: every side moved by -10 % to +30 % of the box."""
    w, h = box[2] - box[0], box[3] - box[1]
    left, top, right, bottom = (rng.uniform(-0.1, 0.3) for _ in range(4))
    return (
        max(0.0, box[0] - left * w),
        max(0.0, box[1] - top * h),
        min(float(width), box[2] + right * w),
        min(float(height), box[3] + bottom * h),
    )


def reframed(box: Box, width: int, height: int, rng: random.Random) -> Box:
    """A smaller photo of the same scene: a random square window, 55 % to 95 % of the side, that holds the box."""
    side = max(rng.uniform(0.55, 0.95) * min(width, height), box[2] - box[0], box[3] - box[1])
    side = min(side, float(min(width, height)))
    x = rng.uniform(max(0.0, box[2] - side), max(0.0, min(box[0], width - side)))
    y = rng.uniform(max(0.0, box[3] - side), max(0.0, min(box[1], height - side)))
    return x, y, x + side, y + side


class TowerMaps:
    """Feature maps of views, float16, shape (views, channels, height, width), cached as a safetensors file."""

    def __init__(self, views: Sequence[View], maps: Tensor) -> None:
        self._row = {view: row for row, view in enumerate(views)}
        self._maps = maps

    def __getitem__(self, views: Sequence[View]) -> Tensor:
        """Maps of these views in this order, float32."""
        return self._maps[[self._row[view] for view in views]].float()

    def pooled(self, grid: int) -> TowerMaps:
        """The same views as the visual tokens that the tower hands on, grid x grid per picture."""
        parts = [functional.adaptive_avg_pool2d(part.float(), grid).half() for part in self._maps.split(256)]
        return TowerMaps(list(self._row), torch.cat(parts))

    @classmethod
    def compute(
        cls, tower: EfficientNetLiteModel, views: Sequence[View], root: Path, cache: Path, batch_size: int = 32
    ) -> TowerMaps:
        """Run the tower over every distinct view of pictures under ``root``, or read an earlier run's file."""
        distinct = sorted(set(views), key=repr)
        key = hashlib.blake2b(repr(distinct).encode(), digest_size=12)
        key.update(torch.cat([p.detach().flatten()[:64].float() for p in tower.parameters()]).numpy().tobytes())
        path = cache / f"tower-{key.hexdigest()}.safetensors"
        if path.exists():
            logger.info("tower features read from %s", path)
            return cls(distinct, load_file(path)["maps"])
        maps = torch.cat(list(_run(tower, distinct, root, batch_size)))
        cache.mkdir(parents=True, exist_ok=True)
        save_file({"maps": maps}, path)
        return cls(distinct, maps)


def _run(tower: EfficientNetLiteModel, views: Sequence[View], root: Path, batch_size: int) -> Iterator[Tensor]:
    size = tower.config.image_size
    tower = tower.to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    with ThreadPoolExecutor(2) as pool, torch.inference_mode():
        for start in range(0, len(views), batch_size):
            pixels = torch.stack(
                list(pool.map(lambda view: _pixels(view, root, size), views[start : start + batch_size]))
            )
            yield tower.features(pixels.to(memory_format=torch.channels_last)).half().contiguous()
            if start % (20 * batch_size) == 0:
                logger.info("tower features: %d of %d views", start, len(views))


def _pixels(view: View, root: Path, size: int) -> Tensor:
    path = root / view.path
    image = decode_image(path.read_bytes(), name=view.path, max_bytes=20_000_000, max_pixels=50_000_000)
    if view.crop is not None:
        x0, y0, x1, y1 = (round(side) for side in view.crop)
        image = image.crop((x0, y0, x1, y1))
    data = torch.frombuffer(
        bytearray(image.resize((size, size), Image.Resampling.BICUBIC).tobytes()), dtype=torch.uint8
    )
    return data.view(size, size, 3).permute(2, 0, 1).float() / 127.5 - 1.0
