"""Save and load MOON checkpoints as sentence-transformers models, without ever running code from a checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from app.errors import ModelError
from app.moon import tower  # noqa: F401  (registers the starter's vision tower with transformers)
from app.moon.config import TEMPLATE_VERSION
from app.moon.transformer import MoonTransformer

WEIGHTS = "*.safetensors"


def moon_model(module: MoonTransformer) -> SentenceTransformer:
    """The whole model: tokens, pooled and normalised."""
    pooling = "lasttoken" if module.moon.pooling == "last" else "mean"
    return SentenceTransformer(
        modules=[module, Pooling(module.get_embedding_dimension(), pooling_mode=pooling), Normalize()],
        device=str(module.model.device),
    )


def save_moon(module: MoonTransformer, out: Path) -> None:
    """Write a checkpoint folder: configuration, processor, safetensors."""
    out.mkdir(parents=True, exist_ok=True)
    module.save(str(out))


def load_module(path: str, dtype: torch.dtype | None = None) -> MoonTransformer:
    """The token encoder of a checkpoint folder or Hub id, on the CPU. ``dtype=None`` keeps the checkpoint's own."""
    folder = checkpoint_folder(path)
    model_kwargs = {} if dtype is None else {"dtype": dtype}
    try:
        module = MoonTransformer.load(str(folder), model_kwargs=model_kwargs)
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be loaded ({error}).") from error
    return module.eval()


def checkpoint_folder(path: str) -> Path:
    """A local folder as it is; a Hub id as the folder of its downloaded snapshot (safetensors and JSON only)."""
    folder = Path(path)
    if folder.is_dir():
        if not list(folder.glob(WEIGHTS)):
            raise ModelError(f"{path} holds no safetensors weights; point MOON_MODEL at a MOON checkpoint folder.")
        return folder
    if folder.is_absolute() or path.startswith(".") or path.count("/") != 1:
        raise ModelError(f"{path}: no such folder; point MOON_MODEL at a MOON checkpoint folder or Hub id.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(path, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.jinja"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"{path}: not a local folder, and the Hub did not give it ({error}).") from error


def model_fingerprint(path: str, detector: str) -> str:
    """Hash of everything that shapes a product's vector: weights, configuration, processor, template, detector.

    Reads files, never builds the model, so that a rebuild without changes stays quick.
    """
    folder = checkpoint_folder(path)
    digest = hashlib.blake2b(f"template {TEMPLATE_VERSION}, detector {detector}".encode(), digest_size=10)
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.jinja"), *folder.glob(WEIGHTS)]):
        if file.name in ("sources.json", "training.json", "evaluation.json"):
            continue
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def model_name(path: str) -> str:
    """The checkpoint's name for people: the folder's name, or the Hub id."""
    return Path(path).name if Path(path).is_dir() else path


