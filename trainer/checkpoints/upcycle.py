"""Any Hugging Face image-text model becomes a MOON checkpoint that computes the same (upcycling, paper section 3)."""

from __future__ import annotations

from pathlib import Path

from app.errors import ModelError
from app.moon.config import MoonConfig
from app.moon.load import save_moon
from app.moon.transformer import MoonTransformer


def upcycle(base: str, out: Path, config: MoonConfig) -> None:
    """Write ``base`` (a folder or Hub id) with guided experts and segment tokens to ``out``.

    Raises ModelError if the base cannot be loaded or is no image-text model with a decoder.
    """
    try:
        module = MoonTransformer.upcycled(base, config)
    except (OSError, ValueError) as error:
        raise ModelError(f"{base} cannot be upcycled: {error}") from error
    save_moon(module, out)
