"""What a product lacks, written by an image-text model of Hugging Face: a :class:`app.complete.Generator`."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image

from app.moon.chat import ask, load_chat_model
from app.moon.grounding import FENCE
from app.moon.segments import clean
from app.schema import CATEGORY_SEPARATOR, Product

logger = logging.getLogger(__name__)

TITLE_CHARS = 200
ANSWER_TOKENS = 256
PROMPT = (
    "This is a product of a shop. What is known of it: {known}. "
    "Name what is missing, from the picture and from what is known, and make nothing up. {wanted} "
    'Answer with JSON only, for example {{"title": "..."}}'
)
_NUMBER = re.compile(r"\d+")


class Describer:
    """An image-text model writes missing fields as JSON (ours).

    Nothing but a field's choices is taken for it, and no title with a number that the product does not hold. Answers
    that cannot be read give nothing and are counted: ``asked`` and ``unreadable``.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        self.asked = self.unreadable = 0

    @classmethod
    def from_pretrained(cls, name: str, device: str) -> Describer:
        """Load a model from a folder or the Hub. Raises ModelError if it cannot be loaded."""
        return cls(*load_chat_model(name, device, "generator"))

    def generate(self, product: Product, image: Image | None, missing: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """As :class:`app.complete.Generator` says."""
        known = _known(product)
        wanted = " ".join(_wanted(field, choices) for field, choices in missing.items())
        words = PROMPT.format(known=known or "nothing", wanted=wanted)
        answer, _ = ask(self._model, self._processor, image, words, ANSWER_TOKENS)
        self.asked += 1
        try:
            fenced = FENCE.search(answer)
            written = json.loads(fenced.group(1) if fenced else answer)
        except (ValueError, RecursionError):
            written = None
        if not isinstance(written, dict):
            self.unreadable += 1
            logger.warning("%d of %d answers unreadable; the last was %r", self.unreadable, self.asked, answer[:80])
            return {}
        values = {field: clean(value) for field, value in written.items() if isinstance(value, str)}
        return {field: value for field, value in values.items() if _is_usable(field, value, missing, known)}


def _is_usable(field: str, value: str, missing: Mapping[str, Sequence[str]], known: str) -> bool:
    if choices := missing.get(field):
        return value in choices
    numbers = set(_NUMBER.findall(value)) - set(_NUMBER.findall(known))
    return field in missing and 0 < len(value) <= TITLE_CHARS and not numbers


def _known(product: Product) -> str:
    parts = [("title", product.title), ("category", CATEGORY_SEPARATOR.join(product.category))]
    parts += [(key, ", ".join(values)) for key, values in product.attributes.items()]
    return "; ".join(f"{name}: {clean(value)}" for name, value in parts if value)


def _wanted(field: str, choices: Sequence[str]) -> str:
    return (
        f'"{field}" is one of {json.dumps([*map(clean, choices)], ensure_ascii=False)}.' if choices else f'"{field}".'
    )
