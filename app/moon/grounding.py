"""Core product detection by a grounding model (paper, section 4), and the parsing of what such models answer."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Sequence
from typing import Any, Literal

from PIL.Image import Image

from app.errors import ModelError
from app.moon.chat import ask, load_chat_model
from app.moon.crops import usable_box
from app.moon.detect import picture_key
from app.moon.segments import clean
from app.schema import Box

logger = logging.getLogger(__name__)

Convention = Literal["pixels", "thousandths"]
CONVENTIONS: dict[str, Convention] = {
    "qwen2_5_vl": "pixels",
    "qwen3_vl": "thousandths",
    "qwen3_vl_moe": "thousandths",
}
PROMPT = (
    "Locate the main product{title} in this picture. "
    'Answer with JSON only: [{{"bbox_2d": [x1, y1, x2, y2], "label": "product"}}]'
)
MAX_TITLE_CHARS = 200
CACHED_ANSWERS = 10_000
FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_NUMBERS = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


class GroundingDetector:
    """Qwen2.5-VL or Qwen3-VL writes the box as text, which is remembered by picture and title.

    Answers that cannot be read give no crop and are counted: ``asked`` and ``unreadable``.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        kind = model.config.model_type
        if kind not in CONVENTIONS:
            raise ModelError(
                f"{kind!r} cannot ground products; set MOON_GROUNDING_MODEL to one of {', '.join(CONVENTIONS)}."
            )
        self.model, self.processor = model, processor
        self.convention = CONVENTIONS[kind]
        self.asked = self.unreadable = 0
        self._answers: dict[tuple[str, str], Box | None] = {}

    @classmethod
    def from_pretrained(cls, name: str, device: str) -> GroundingDetector:
        """Load a grounding model from a folder or the Hub. Raises ModelError if it cannot be loaded."""
        return cls(*load_chat_model(name, device, "grounding model"))

    def detect(self, images: Sequence[Image], titles: Sequence[str]) -> list[Box | None]:
        return [self._remembered(image, title) for image, title in zip(images, titles, strict=True)]

    def _remembered(self, image: Image, title: str) -> Box | None:
        key = picture_key(image), title
        if key not in self._answers:
            if len(self._answers) >= CACHED_ANSWERS:
                self._answers.pop(next(iter(self._answers)))
            self._answers[key] = self._ask(image, clean(title)[:MAX_TITLE_CHARS])
        return self._answers[key]

    def _ask(self, image: Image, title: str) -> Box | None:
        words = PROMPT.format(title=f' "{title}"' if title else "")
        answer, batch = ask(self.model, self.processor, image, words, max_new_tokens=96)
        self.asked += 1
        box = parse_box(answer)
        if box is None:
            self.unreadable += 1
            logger.warning(
                "grounding: %d of %d answers unreadable; the last was %r", self.unreadable, self.asked, answer[:80]
            )
            return None
        _, rows, columns = batch["image_grid_thw"][0].tolist()
        patch = self.model.config.vision_config.patch_size
        return usable_box(to_pixels(box, image.size, self.convention, (rows * patch, columns * patch)), *image.size)


def parse_box(answer: str) -> Box | None:
    """The first four-number box in a model's answer: code fence, then JSON, then Python literal, then bare numbers.

    >>> parse_box('```json\\n[{"bbox_2d": [10, 20, 110, 220], "label": "chair"}]\\n```')
    (10.0, 20.0, 110.0, 220.0)
    """
    fenced = FENCE.search(answer)
    text = fenced.group(1) if fenced else answer
    for read in (json.loads, ast.literal_eval):
        try:
            if box := _find_box(read(text.strip())):
                return box
        except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError, MemoryError):
            continue
    numbers = [float(number) for number in _NUMBERS.findall(text)[:4]]
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None


def _find_box(value: Any) -> Box | None:
    if isinstance(value, dict):
        return _find_box(value.get("bbox_2d", value.get("bbox")))
    if isinstance(value, list | tuple):
        if len(value) == 4 and all(isinstance(side, int | float) and not isinstance(side, bool) for side in value):
            return float(value[0]), float(value[1]), float(value[2]), float(value[3])
        return next((box for part in value if (box := _find_box(part))), None)
    return None


def to_pixels(box: Box, size: tuple[int, int], convention: Convention, resized: tuple[int, int]) -> Box:
    """A model's coordinates in the original picture's pixels.

    Qwen2.5-VL (``pixels``) speaks of the picture as resized for it, ``resized`` = (height, width) = grid times patch
    size; Qwen3-VL (``thousandths``) in 0..1000 of either side. ``size`` is the original (width, height).
    """
    across, down = (1000.0, 1000.0) if convention == "thousandths" else (float(resized[1]), float(resized[0]))
    x, y = size[0] / across, size[1] / down
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y
