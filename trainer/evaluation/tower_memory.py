"""The evaluation shows the vision tower the same pictures again and again; what it saw is remembered."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from app.moon.tower import EfficientNetLiteModel

KEPT = 1600
"""Pictures that are kept, those that were used last: 0.25 MB each for pictures of 224 pixels.

Enough for the held-out designs' pictures, the customers' photos of them and the crops of those.
"""


@contextmanager
def remembering(tower: EfficientNetLiteModel, kept: int = KEPT) -> Iterator[None]:
    """Inside, ``tower.look`` computes what it sees in a picture once, as long as it is among the ``kept`` last used.

    The same pixels give the same map and statistics up to the rounding of batches.
    """
    compute = tower.look
    seen: OrderedDict[bytes, tuple[Tensor, Tensor]] = OrderedDict()

    def look(pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        keys = [_key(picture) for picture in pixel_values]
        found = {key: seen[key] for key in keys if key in seen}
        new = {key: place for place, key in enumerate(keys) if key not in found}
        if new:
            computed = zip(*compute(pixel_values[list(new.values())]), strict=True)
            found |= {key: (own.clone(), numbers) for key, (own, numbers) in zip(new, computed, strict=True)}
        for key in keys:
            seen[key] = found[key]
            seen.move_to_end(key)
        while len(seen) > kept:
            seen.popitem(last=False)
        maps, statistics = zip(*(found[key] for key in keys), strict=True)
        return torch.stack(maps), torch.stack(statistics)

    tower.look = look  # type: ignore[method-assign]
    try:
        yield
    finally:
        del tower.look


def _key(picture: Tensor) -> bytes:
    return hashlib.blake2b(picture.float().cpu().contiguous().numpy().tobytes(), digest_size=16).digest()
