"""Core product detection (paper, section 4): the box of the product for sale, whose crop is fed beside the picture.

The paper uses a frozen grounding model. Our decision: detectors behind one protocol, chosen by the setting
``detector``; each answers a box in the picture's pixels, padded and safe to crop, or None for "no crop".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional

from app.errors import ModelError
from app.moon.crops import usable_box
from app.moon.prompt import model_input
from app.moon.transformer import MoonTransformer
from app.schema import Box


class Detector(Protocol):
    """Finds the core product. ``titles`` may guide it; an empty title is legal."""

    def detect(self, images: Sequence[Image], titles: Sequence[str]) -> list[Box | None]:
        """One box or None per picture."""


def picture_key(image: Image) -> str:
    """Hash of a picture's size and pixels."""
    return hashlib.blake2b(image.tobytes(), key=repr((image.mode, image.size)).encode(), digest_size=16).hexdigest()


class NoDetector:
    """Never crops."""

    def detect(self, images: Sequence[Image], titles: Sequence[str]) -> list[Box | None]:
        return [None] * len(images)


class DatasetBoxes:
    """Boxes that come with a data set, looked up by the picture's pixels; other pictures are not cropped.

    >>> from PIL import Image
    >>> photo = Image.new("RGB", (100, 100))
    >>> DatasetBoxes([(photo, (20, 20, 60, 60))]).detect([photo], [""])
    [(18.0, 18.0, 62.0, 62.0)]
    """

    def __init__(self, boxes: Iterable[tuple[Image, Box]]) -> None:
        self._boxes = {picture_key(image): box for image, box in boxes}

    def detect(self, images: Sequence[Image], titles: Sequence[str]) -> list[Box | None]:
        found = [self._boxes.get(picture_key(image)) for image in images]
        return [box and usable_box(box, *image.size) for image, box in zip(images, found, strict=True)]


class LearnedDetector:
    """The checkpoint's own box head on its vision tower (our decision; see :class:`app.moon.boxes.BoxHead`)."""

    def __init__(self, module: MoonTransformer) -> None:
        self.module = module

    @torch.inference_mode()
    def detect(self, images: Sequence[Image], titles: Sequence[str]) -> list[Box | None]:
        model = self.module.model
        pixels = self.module.processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
        boxes = model.moon_box_head(model.vision_tower.features(pixels.to(model.device))).float().tolist()
        scaled = [
            (x0 * image.width, y0 * image.height, x1 * image.width, y1 * image.height)
            for (x0, y0, x1, y1), image in zip(boxes, images, strict=True)
        ]
        return [usable_box(box, *image.size) for box, image in zip(scaled, images, strict=True)]


class SaliencyDetector:
    """No second model: the box around the visual tokens that agree most with the pooled embedding (our decision)."""

    def __init__(self, module: MoonTransformer) -> None:
        self.module = module

    @torch.inference_mode()
    def detect(self, images: Sequence[Image], titles: Sequence[str]) -> list[Box | None]:
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> Box | None:
        batch = self.module.tokens([model_input([image], "")])
        visual = (batch["input_ids"][0] == self.module.markers.image).nonzero().squeeze(1)
        if whole := getattr(self.module.processor, "image_seq_len", None):
            visual = visual[-whole:]  # Idefics3 and SmolVLM cut a picture into tiles and end with the whole of it
        grid = self._grid(batch, len(visual))
        tokens = self.module(batch)["token_embeddings"][0, visual].float()
        agreement = torch.cosine_similarity(tokens, tokens.mean(dim=0, keepdim=True)).reshape(grid)
        return salient_box(agreement, image.size)

    def _grid(self, batch: dict, tokens: int) -> tuple[int, int]:
        """Rows and columns of visual tokens: from Qwen's ``image_grid_thw``, else a square."""
        if "image_grid_thw" in batch:
            _, rows, columns = batch["image_grid_thw"][0].tolist()
            merge = self.module.model.config.vision_config.spatial_merge_size
            return rows // merge, columns // merge
        side = round(tokens**0.5)
        if side * side != tokens:
            raise ModelError(
                f"{tokens} visual tokens form no square; set MOON_DETECTOR to `grounding` or `none` for this model."
            )
        return side, side


def salient_box(agreement: Tensor, size: tuple[int, int]) -> Box | None:
    """Box around the patch of high agreement that holds the peak; ``agreement`` (rows, columns), size in pixels.

    High is what Otsu's threshold sets apart, so that one outlier neither opens nor closes the box; tokens that do not
    touch the patch are other things.
    """
    chosen = agreement > _otsu(agreement)
    if not chosen.any():
        return None
    patch = torch.zeros_like(chosen)
    grown = agreement == agreement.max()
    while not patch.equal(grown):
        patch = grown
        grown = (functional.max_pool2d(patch[None].float(), 3, stride=1, padding=1)[0] > 0) & chosen
    chosen = patch
    rows, columns = (chosen.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
    height, width = size[1] / agreement.shape[0], size[0] / agreement.shape[1]
    box = (columns[0] * width, rows[0] * height, (columns[-1] + 1) * width, (rows[-1] + 1) * height)
    return usable_box(box, *size)


def _otsu(values: Tensor) -> float:
    """The value that splits ``values`` into two groups with the largest variance between them (Otsu 1979)."""
    ordered = values.flatten().double().sort().values
    low = torch.arange(1, len(ordered), device=values.device)
    high = len(ordered) - low
    below = ordered.cumsum(0)[:-1]
    between = low * high * (below / low - (ordered.sum() - below) / high).square()
    return ordered[between.argmax()].item() if len(between) else ordered[0].item()


def has_plain_ground(image: Image, tolerance: int = 12) -> bool:
    """Whether the picture is a packshot: a frame of nearly white pixels all around (our decision: needs no crop)."""
    small = np.asarray(image.resize((64, 64)), dtype=np.int16)
    frame = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    return bool((frame >= 255 - tolerance).all())
