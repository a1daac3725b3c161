"""How many tokens products have, and how many of them a device takes at once."""

from __future__ import annotations

import logging
from typing import Any

import torch
from PIL import Image

from app.encoder import CatalogEmbedder
from app.moon.prompt import model_input
from app.moon.transformer import MoonTransformer
from app.schema import Product

logger = logging.getLogger(__name__)

TOKENS_AT_ONCE = 2048
"""Where memory is not measured: about 32 products of the starter, one or two of a large model (our decision)."""
MOST_TOKENS = 65_536
"""More at once brings no GPU to a higher rate, and costs more when a run is killed (our decision)."""
SHARE_OF_FREE_MEMORY = 0.6
"""The rest is for attention, which grows faster than tokens do, and for memory in pieces (our decision)."""
SIDE_STEP = 128
"""Sides of pictures are rounded up to multiples of so many pixels before their tokens are counted."""
PROBE_SIDE = 1024


class TokenCounts:
    """Tokens of texts, and of pictures by their size; strips can have a few more than were counted."""

    def __init__(self, module: MoonTransformer) -> None:
        self._module = module
        self._frame = self._count(model_input([], ""))
        self._pictures: dict[tuple[int, int], int] = {}

    def text(self, text: str) -> int:
        """Those of a text and of the template around it."""
        return self._frame + len(self._module.words(text).input_ids)

    def picture(self, width: int, height: int) -> int:
        """Those of a picture, counted on a blank one of its rounded size, once for each."""
        size = (-(-width // SIDE_STEP) * SIDE_STEP, -(-height // SIDE_STEP) * SIDE_STEP)
        if size not in self._pictures:
            self._pictures[size] = self._count(model_input([Image.new("RGB", size)], "")) - self._frame
        return self._pictures[size]

    def _count(self, item: dict[str, Any]) -> int:
        return self._module.preprocess([item])["input_ids"].shape[1]


def tokens_that_fit(embedder: CatalogEmbedder, device: torch.device) -> int:
    """How many tokens fit into a GPU's free memory, by what one large product takes of it.

    Raises torch.OutOfMemoryError if not even that fits.
    """
    product, images = Product(id="probe", title="chair " * 50), [Image.effect_noise((PROBE_SIDE, PROBE_SIDE), 64)]
    images = [image.convert("RGB") for image in images]
    tokens = embedder.tokens(product, images)
    embedder.embed_products([product], [images])  # libraries take their working memory once
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    embedder.embed_products([product], [images])
    used = max(1, torch.cuda.max_memory_allocated(device) - before)
    free, _ = torch.cuda.mem_get_info(device)
    fitting = int(SHARE_OF_FREE_MEMORY * free / used * tokens)
    chosen = max(tokens, min(fitting, MOST_TOKENS))
    logger.info(
        "batches: up to %s tokens (%.1f GB are free, %d tokens took %.2f GB)",
        f"{chosen:,}",
        free / 1e9,
        tokens,
        used / 1e9,
    )
    return chosen
