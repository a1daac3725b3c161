"""What kind of model a folder or Hub id holds, read from its configuration before any weights are fetched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import ModelError

MOON, GME, QWEN3_EMBEDDING, SENTENCE = "MOON", "GME", "Qwen3-VL-Embedding", "sentence-transformers"
TOWERS = {"clip": "CLIP", "siglip": "SigLIP"}
ZERO_SHOT = {"qwen2_vl": "Qwen2-VL", "qwen2_5_vl": "Qwen2.5-VL", "qwen3_vl": "Qwen3-VL", "internvl": "InternVL"}
FAMILIES = (MOON, *TOWERS.values(), *ZERO_SHOT.values(), GME, QWEN3_EMBEDDING, f"{SENTENCE} with pictures")

CONFIGURATION = ["config.json", "*/config.json", "modules.json"]
WEIGHTS = ["*.safetensors", "*.json", "*.txt", "*.jinja"]
NEVER_RUNS = "needs code from its own repository, which this software never runs"
REFUSED = {"nvidia/mm-embed": f"it {NEVER_RUNS}, and its licence allows research only"}
OWN_MODULES = "sentence_transformers."


@dataclass(frozen=True)
class Checkpoint:
    """A model by name and kind. ``folder`` holds its weights; ``modules`` says that sentence-transformers wrote it."""

    name: str
    family: str
    folder: Path
    modules: bool = False


def read_checkpoint(name: str) -> Checkpoint:
    """The checkpoint behind a folder or Hub id, its weights downloaded.

    Raises ModelError for what does not exist, has no safetensors weights, belongs to no supported family, or needs
    code from its own repository. Of those nothing but the configuration is fetched.
    """
    if reason := REFUSED.get(name.lower().rstrip("/")):
        raise ModelError(f"{name} is not evaluated: {reason}. Choose another model.")
    root = _folder(name, CONFIGURATION)
    modules = _json(root / "modules.json") or []
    first = modules[0].get("path", "") if modules else ""
    config = _json(root / first / "config.json")
    if config is None:
        raise ModelError(f"{name} holds no config.json; name a folder or Hub id of a Hugging Face model.")
    family = family_of(name, config, [module.get("type", "") for module in modules])
    root = _folder(name, WEIGHTS)
    native = bool(modules) and family in (SENTENCE, QWEN3_EMBEDDING)
    folder = root / first
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{name} holds no safetensors weights, and no other kind is read; choose a checkpoint that has them, or "
            "save this one again where you trust it."
        )
    return Checkpoint(name, family, root if native else folder, native)


def family_of(name: str, config: dict[str, Any], modules: list[str]) -> str:
    """The family of a model configuration; ``modules`` are the types in modules.json, if there is one.

    GME declares code of its own, but its weights are a plain Qwen2-VL's and are read as such. Raises ModelError for
    other models that need their own code and for unknown ones.
    """
    kind = config.get("model_type")
    if "moon" in config:
        return MOON
    if kind == "qwen2_vl" and "gme" in f"{name} {config.get('auto_map')} {config.get('_name_or_path')}".lower():
        return GME
    if config.get("auto_map") or not all(module.startswith(OWN_MODULES) for module in modules):
        raise ModelError(f"{name} is not evaluated: it {NEVER_RUNS}. Choose one of: {', '.join(FAMILIES)}.")
    if kind in TOWERS:
        return TOWERS[kind]
    if kind == "qwen3_vl" and "embedding" in f"{name} {config.get('_name_or_path')}".lower():
        return QWEN3_EMBEDDING
    if modules:
        return SENTENCE
    if kind in ZERO_SHOT:
        return ZERO_SHOT[kind]
    raise ModelError(f"{name} is a {kind!r} model, which cannot be evaluated; choose one of: {', '.join(FAMILIES)}.")


def _folder(name: str, patterns: list[str]) -> Path:
    """A local folder as it is; of a Hub id the files that match, downloaded."""
    if Path(name).is_dir():
        return Path(name)
    if Path(name).is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise ModelError(
            f"{name}: no such folder; name a model folder or a Hub id such as google/siglip2-base-patch16-224."
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"{name}: not a local folder, and the Hub did not give it ({error}).") from error


def _json(path: Path) -> Any:
    """The content of a JSON file; None where there is none."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON ({error}); download the model again.") from error
