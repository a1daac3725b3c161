"""Expanded pictures of a generator: any image-editing pipeline of diffusers (MOON2.0), an optional library."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from PIL.Image import Image

from app.errors import BadInputError, ModelError
from app.moon.device import choose_dtype
from trainer.data.record import Item

WISHES = (
    "on a plain light grey ground",
    "in a bright room",
    "in a shop window",
    "seen slightly from the left",
    "seen slightly from above",
)
PROMPT = "The same product, unchanged in shape, colour, material and writing, {wish}: {title}"
MAX_TITLE_CHARS = 200


class Editor:
    """Shows a product elsewhere, or from elsewhere; the same for the same state of ``rng``."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    @classmethod
    def from_pretrained(cls, name: str, device: str) -> Editor:
        """Load a pipeline from a folder or the Hub, safetensors alone and no code of it.

        Raises BadInputError without diffusers, ModelError if the pipeline cannot be loaded.
        """
        try:
            from diffusers import DiffusionPipeline
        except ImportError as error:
            raise BadInputError(
                "--editor needs the extra `generate`, which is not installed; install it with "
                "`pip install -e '.[train,generate]'`, or leave --editor out"
            ) from error
        if any(Path(name).glob("**/*.py")):
            raise ModelError(f"{name} brings code of its own, which is never run; name a pipeline of diffusers itself.")
        try:
            pipeline = DiffusionPipeline.from_pretrained(
                name, torch_dtype=choose_dtype(device)[0], use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, ImportError) as error:
            raise ModelError(f"{name}: the editing pipeline cannot be loaded ({error}).") from error
        return cls(pipeline.to(device))

    def __call__(self, item: Item, image: Image, rng: random.Random) -> Image:
        """The product of ``image`` as the pipeline shows it, RGB."""
        import torch

        words = PROMPT.format(wish=rng.choice(WISHES), title=item.title[:MAX_TITLE_CHARS])
        generator = torch.Generator().manual_seed(rng.getrandbits(32))
        return self._pipeline(image=image, prompt=words, generator=generator).images[0].convert("RGB")
