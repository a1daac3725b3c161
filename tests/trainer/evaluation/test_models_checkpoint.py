"""What is told from a configuration alone, and what is refused before any weights are read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from app.errors import ModelError
from app.settings import Settings
from trainer.evaluation.models import open_model
from trainer.evaluation.models.checkpoint import family_of, read_checkpoint

OURS = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
THEIRS = ["custom_st.MultiModalTransformer"]
REMOTE = {"AutoModel": "modeling_own.Model"}


def write(folder: Path, config: dict, modules: Sequence[str] = (), weights: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if modules:
        listed = [{"idx": n, "name": str(n), "path": "", "type": kind} for n, kind in enumerate(modules)]
        (folder / "modules.json").write_text(json.dumps(listed))
    if weights:
        (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("name", "config", "modules", "family"),
    [
        ("shop/moon", {"model_type": "qwen2_5_vl", "moon": {}}, OURS, "MOON"),
        ("patrickjohncyh/fashion-clip", {"model_type": "clip"}, [], "CLIP"),
        ("clip-ViT-B-32", {"model_type": "clip"}, ["sentence_transformers.models.CLIPModel"], "CLIP"),
        ("google/siglip2-base-patch16-224", {"model_type": "siglip"}, [], "SigLIP"),
        ("OpenGVLab/InternVL3-2B-hf", {"model_type": "internvl"}, [], "InternVL"),
        ("Qwen/Qwen2.5-VL-3B-Instruct", {"model_type": "qwen2_5_vl"}, [], "Qwen2.5-VL"),
        ("Qwen/Qwen2-VL-2B-Instruct", {"model_type": "qwen2_vl"}, [], "Qwen2-VL"),
        ("Alibaba-NLP/gme-Qwen2-VL-2B-Instruct", {"model_type": "qwen2_vl", "auto_map": REMOTE}, THEIRS, "GME"),
        ("run-7", {"model_type": "qwen2_vl", "_name_or_path": "/models/gme-Qwen2-VL-2B"}, [], "GME"),
        ("Qwen/Qwen3-VL-2B-Instruct", {"model_type": "qwen3_vl"}, [], "Qwen3-VL"),
        ("Qwen/Qwen3-VL-Embedding-2B", {"model_type": "qwen3_vl"}, [], "Qwen3-VL-Embedding"),
        ("Qwen/Qwen3-VL-Embedding-2B", {"model_type": "qwen3_vl"}, OURS, "Qwen3-VL-Embedding"),
        ("some/one", {"model_type": "idefics3"}, OURS, "sentence-transformers"),
    ],
)
def test_the_configuration_tells_the_family(name: str, config: dict, modules: list[str], family: str):
    assert family_of(name, config, modules) == family


@pytest.mark.parametrize("name", ["nvidia/MM-Embed", "NVIDIA/mm-embed/"])
def test_mm_embed_is_refused_with_the_reason_before_anything_is_fetched(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: pytest.fail("fetched"))
    with pytest.raises(ModelError, match=r"code from its own repository.* never runs.*licence allows research only"):
        open_model(name, Settings(_env_file=None))


@pytest.mark.parametrize(
    ("config", "modules"),
    [({"model_type": "llava_next", "auto_map": REMOTE}, []), ({"model_type": "qwen2_5_vl"}, THEIRS)],
)
def test_models_that_need_their_own_code_are_refused(tmp_path: Path, config: dict, modules: list[str]):
    folder = write(tmp_path / "model", config, modules)
    with pytest.raises(ModelError, match=r"needs code from its own repository.*Choose one of: MOON, CLIP"):
        open_model(str(folder), Settings(_env_file=None))


def test_unknown_kinds_are_refused_and_the_supported_ones_named(tmp_path: Path):
    folder = write(tmp_path / "bert", {"model_type": "bert"})
    with pytest.raises(ModelError, match=r"'bert' model.*choose one of: MOON, CLIP, SigLIP, .*GME"):
        open_model(str(folder), Settings(_env_file=None))


@pytest.mark.parametrize("name", ["no-such-folder", "/no/such/folder", "./no/such"])
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(name: str):
    with pytest.raises(ModelError, match="no such folder"):
        open_model(name, Settings(_env_file=None))


def test_folders_that_hold_no_model_are_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        read_checkpoint(str(tmp_path / "empty"))
    with pytest.raises(ModelError, match="no safetensors weights"):
        read_checkpoint(str(write(tmp_path / "pickled", {"model_type": "clip"}, weights=False)))
    broken = write(tmp_path / "broken", {})
    (broken / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is no JSON"):
        read_checkpoint(str(broken))


class Hub:
    """Serves one folder and remembers what was asked of it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.asked = folder, []

    def __call__(self, name: str, allow_patterns: list[str]) -> str:
        self.asked.append(allow_patterns)
        if self.folder is None:
            raise LocalEntryNotFoundError("offline")
        return str(self.folder)


def test_from_the_hub_the_configuration_comes_before_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hub = Hub(write(tmp_path / "snapshot", {"model_type": "clip"}))
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    found = read_checkpoint("patrickjohncyh/fashion-clip")
    assert (found.name, found.family, found.folder) == ("patrickjohncyh/fashion-clip", "CLIP", hub.folder)
    assert not any("safetensors" in pattern for pattern in hub.asked[0])
    assert "*.safetensors" in hub.asked[1]
    assert not any(pattern.endswith((".py", ".bin", "*")) for asked in hub.asked for pattern in asked)


def test_of_a_refused_hub_model_only_the_configuration_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hub = Hub(write(tmp_path / "snapshot", {"model_type": "own", "auto_map": REMOTE}))
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    with pytest.raises(ModelError, match="never runs"):
        read_checkpoint("some/one")
    assert len(hub.asked) == 1


def test_an_unreachable_hub_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", Hub(None))
    with pytest.raises(ModelError, match=r"some/one: not a local folder, and the Hub did not give it \(offline\)"):
        read_checkpoint("some/one")


def test_importing_the_models_loads_no_deep_learning_library():
    code = "import sys, trainer.evaluation.models; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
