"""Where a checkpoint lies and what identifies it, without importing torch or building the model."""

from __future__ import annotations

import hashlib
from pathlib import Path

from app.calibration import FILE as CALIBRATION
from app.errors import ModelError
from app.moon.config import TEMPLATE_VERSION
from app.settings import Settings

WEIGHTS = "*.safetensors"
NOTES = ("sources.json", "training.json", "evaluation.json", "merge.json", CALIBRATION)
"""Records beside a checkpoint that do not change its vectors."""


def checkpoint_folder(path: str) -> Path:
    """A local folder as it is; a Hub id as the folder of its downloaded snapshot (safetensors and JSON only)."""
    folder = Path(path)
    if folder.is_dir():
        return _with_weights(folder, path)
    if folder.is_absolute() or path.startswith(".") or path.count("/") != 1:
        raise ModelError(f"{path}: no such folder; name a MOON checkpoint folder or Hub id (MOON_MODEL).")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(path, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.jinja"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"{path}: not a local folder, and the Hub did not give it ({error}).") from error
    return _with_weights(folder, path)


def _with_weights(folder: Path, path: str) -> Path:
    if not any(folder.glob(WEIGHTS)):
        raise ModelError(f"{path} holds no safetensors weights; name a MOON checkpoint (MOON_MODEL).")
    return folder


def model_fingerprint(path: str, settings: Settings) -> str:
    """Hash of everything that shapes a product's vector: weights, configuration, processor, template, detector.

    The share of visual tokens that is kept follows it (``0f3a~0.5``), where that is not all.
    Reads files, never builds the model, so that a rebuild without changes stays quick.
    """
    folder = checkpoint_folder(path)
    grounding = settings.grounding_model if settings.detector == "grounding" else ""
    recipe = f"template {TEMPLATE_VERSION}, detector {settings.detector} {grounding}"
    digest = hashlib.blake2b(recipe.encode(), digest_size=10)
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.jinja"), *folder.glob(WEIGHTS)]):
        if file.name not in NOTES:
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "blake2b").digest())
    kept = settings.keep_visual_tokens
    return digest.hexdigest() + (f"~{kept}" if kept < 1 else "")


def model_name(path: str) -> str:
    """The checkpoint's name for people: the folder's name, or the Hub id."""
    return Path(path).name if Path(path).is_dir() else path
