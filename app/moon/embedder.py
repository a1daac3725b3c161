"""The MOON model as the rest of the system uses it: see :class:`app.encoder.Embedder`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from PIL.Image import Image

from app.encoder import Vectors
from app.errors import BadInputError, ModelError
from app.moon.allocator import keep_freed_memory
from app.moon.batch_size import TOKENS_AT_ONCE, TokenCounts, tokens_that_fit
from app.moon.crops import cropped, usable_box
from app.moon.detect import Detector, LearnedDetector, NoDetector, SaliencyDetector, has_plain_ground
from app.moon.device import choose_device, choose_dtype
from app.moon.fast_decoder import FastDecoder
from app.moon.fast_tower import FastTower
from app.moon.fingerprint import model_fingerprint, model_name
from app.moon.grounding import GroundingDetector
from app.moon.load import load_module, moon_model
from app.moon.prompt import label_text, model_input, product_text, query_text
from app.moon.shrink import shrink_first
from app.moon.tower import EfficientNetLiteModel
from app.moon.tower_memory import TowerMemory, remembering
from app.moon.transformer import MoonTransformer
from app.schema import Box, Product, Query
from app.settings import Settings

logger = logging.getLogger(__name__)

MAX_PICTURES = 4
"""Pictures of one product that are read; more add little and cost a sequence each (our decision)."""

CPU_PICTURE_BATCH = 4
"""Larger batches of pictures cost a CPU more time for fresh memory than they save; vectors do not depend on it."""


class MoonEmbedder:
    """Embeds with one MOON checkpoint. One call runs at a time; callers on other threads wait."""

    def __init__(
        self, module: MoonTransformer, detector: Detector, name: str, fingerprint: str, batch_size: int
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.dimensions = module.get_embedding_dimension()
        self.module = module
        self._model = moon_model(module).eval()
        self._detector = detector
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._token_counts = TokenCounts(module)
        self.max_tokens = TOKENS_AT_ONCE

    def embed_products(self, products: Sequence[Product], images: Sequence[Sequence[Image]]) -> Vectors:
        """Pictures with their core crops, then title, category and attributes; shape (products, dimensions).

        All products go through the model together: see :attr:`max_tokens`.
        """
        with self._lock, self._seeing_each_picture_once():
            pictures = [
                self._with_crops(list(own[:MAX_PICTURES]), product.title)
                for product, own in zip(products, images, strict=True)
            ]
            inputs = [model_input(p, product_text(product)) for p, product in zip(pictures, products, strict=True)]
            return self._encode(inputs, at_once=len(inputs))

    def tokens(self, product: Product, images: Sequence[Image]) -> int:
        """Text, pictures and, as if every picture had one, their core crops."""
        pictures = sum(self._token_counts.picture(*image.size) for image in images[:MAX_PICTURES])
        return self._token_counts.text(product_text(product)) + 2 * pictures

    def embed_queries(self, queries: Sequence[Query]) -> tuple[Vectors, list[Box | None]]:
        """Photo, its core crop, then the words; the crop is the query's own box or the detector's."""
        for query in queries:
            if query.image is None and not query.text.strip():
                raise BadInputError("The query is empty; type some words or choose a photo.")
        with self._lock, self._seeing_each_picture_once():
            boxes = self._query_boxes(queries)
            inputs = [
                model_input(_beside_crop(query.image, box), query_text(query.text))
                for query, box in zip(queries, boxes, strict=True)
            ]
            return self._encode(inputs), boxes

    def embed_labels(self, labels: Sequence[str], segment: Literal["category", "attribute"]) -> Vectors:
        """Labels inside the segment that they stand in within products, so that the same expert reads them."""
        with self._lock:
            return self._encode([model_input([], label_text(label, segment)) for label in labels])

    def embed_inputs(self, inputs: Sequence[dict[str, Any]]) -> Vectors:
        """Inputs as :mod:`app.moon.prompt` writes them, their crops chosen by the caller."""
        with self._lock:
            return self._encode(list(inputs))

    def _seeing_each_picture_once(self) -> AbstractContextManager[None]:
        """The learned detector and the model are shown the same pictures; a fast tower computes them once."""
        tower = getattr(self.module.model, "vision_tower", None)
        return remembering(tower, TowerMemory()) if isinstance(tower, FastTower) else nullcontext()

    def _with_crops(self, pictures: list[Image], title: str) -> list[Image]:
        found = [None if has_plain_ground(image) else self._detector.detect([image], [title])[0] for image in pictures]
        return [part for image, box in zip(pictures, found, strict=True) for part in _beside_crop(image, box)]

    def _query_boxes(self, queries: Sequence[Query]) -> list[Box | None]:
        boxes: list[Box | None] = [
            usable_box(query.box, *query.image.size) if query.image is not None and query.box is not None else None
            for query in queries
        ]
        open_rows = [row for row, query in enumerate(queries) if query.image is not None and query.box is None]
        images = [image for row in open_rows if (image := queries[row].image) is not None]
        if images:
            for row, box in zip(
                open_rows, self._detector.detect(images, [queries[r].text for r in open_rows]), strict=True
            ):
                boxes[row] = box
        return boxes

    @torch.inference_mode()
    def _encode(self, inputs: list[dict[str, Any]], at_once: int | None = None) -> Vectors:
        """As sentence-transformers' ``encode``, whose look at every parameter costs a fifth of a text query's time."""
        if not inputs:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        at_once = at_once or self._batch_size
        if self._model.device.type == "cpu" and any("image" in item for item in inputs):
            at_once = min(at_once, CPU_PICTURE_BATCH)
        vectors = np.empty((len(inputs), self.dimensions), dtype=np.float32)
        longest_first = sorted(range(len(inputs)), key=lambda row: _length(inputs[row]), reverse=True)
        for start in range(0, len(inputs), at_once):
            rows = longest_first[start : start + at_once]
            output = self._model(self.module.tokens([inputs[row] for row in rows]))
            vectors[rows] = output["sentence_embedding"].float().cpu().numpy()
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # bfloat16 is not exact enough for unit length
        return vectors / np.maximum(lengths, 1e-12)


def _length(item: dict[str, Any]) -> tuple[int, int]:
    """What inputs of one batch should have in common, so that little of it is padding."""
    return len(item.get("image", ())), len(item["text"])


def _beside_crop(image: Image | None, box: Box | None) -> list[Image]:
    """The picture, and its crop beside it where there is one."""
    if image is None:
        return []
    return [image] if box is None else [image, cropped(image, box)]


def load_encoder(settings: Settings) -> MoonEmbedder:
    """The configured checkpoint on the configured device. Raises ModelError if it cannot be loaded."""
    module, device = _on_device(settings)
    embedder = MoonEmbedder(
        module,
        _detector(settings, module, device),
        model_name(settings.model),
        model_fingerprint(settings.model, settings),
        settings.batch_size,
    )
    if module.model.device.type == "cuda":
        embedder.max_tokens = tokens_that_fit(embedder, module.model.device)
    return embedder


def load_detector(settings: Settings) -> Detector:
    """The configured detector alone. Raises ModelError if it cannot be loaded."""
    if settings.detector == "grounding":
        return GroundingDetector.from_pretrained(settings.grounding_model, choose_device(settings.device)[0])
    return _detector(settings, *_on_device(settings))


def _on_device(settings: Settings) -> tuple[MoonTransformer, str]:
    device, why = choose_device(settings.device)
    dtype, reason = choose_dtype(device)
    logger.info("%s, %s: %s; %s", device, str(dtype).removeprefix("torch."), why, reason)
    module = load_module(settings.model, dtype)
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the device {device!r} cannot be used ({error}); set MOON_DEVICE to another.") from error
    module.keep_visual_tokens = settings.keep_visual_tokens
    shrink_first(module.processor.image_processor)
    on_cpu = module.model.device.type == "cpu"
    if on_cpu:
        keep_freed_memory()
        FastDecoder.of(module.model.get_decoder(), module.moon)
    if isinstance(tower := getattr(module.model, "vision_tower", None), EfficientNetLiteModel):
        if on_cpu:
            FastTower.of(tower)
        else:
            tower.fold()
    return module, device


def _detector(settings: Settings, module: MoonTransformer, device: str) -> Detector:
    choice, why = settings.detector, "chosen by MOON_DETECTOR"
    if choice == "auto":
        choice = "learned" if module.moon.box_head else "saliency"
        why = "the checkpoint has a box head" if module.moon.box_head else "the checkpoint has no box head"
    logger.info("core product detector: %s (%s)", choice, why)
    if choice == "grounding":
        return GroundingDetector.from_pretrained(settings.grounding_model, device)
    if choice == "learned":
        if not module.moon.box_head:
            raise ModelError(f"{settings.model} has no box head; set MOON_DETECTOR to auto or saliency.")
        return LearnedDetector(module)
    if choice == "saliency":
        return SaliencyDetector(module)
    return NoDetector()
