"""Saving, loading, and refusing what is no sound MOON checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import picture, stir, upcycle
from transformers.utils import logging as transformers_logging

from app.errors import ModelError
from app.moon.load import WORDS, load_module, moon_model, save_moon
from app.moon.prompt import model_input, product_text
from app.moon.transformer import MoonTransformer
from app.schema import Product

CHAIR = Product(id="1", title="red chair", category=["Furniture", "Chairs"], attributes={"color": ["red"]})
INPUT = model_input([picture(1)], product_text(CHAIR))
STARTER_LIKE = {
    "expert_rank": 4,
    "attention": "bidirectional",
    "pooling": "segments",
    "skip": True,
    "box_head": True,
}


@pytest.fixture(scope="module")
def checkpoint(base_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_moon(stir(upcycle(base_of("fastvlm"), **STARTER_LIKE)), folder)
    return folder


@pytest.fixture
def damaged(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def assert_round_trip(module: MoonTransformer, folder: Path) -> None:
    save_moon(module, folder)
    again = load_module(str(folder))
    assert again.moon == module.moon
    state, state_again = module.model.state_dict(), again.model.state_dict()
    assert state.keys() == state_again.keys()
    assert all(torch.equal(state[name], state_again[name]) for name in state)
    a, b = (moon_model(m).encode([INPUT]) for m in (module, again))
    assert (a == b).all()


@pytest.mark.parametrize("rank", [None, 4], ids=["full", "low-rank"])
def test_saving_and_loading_changes_nothing(base: Path, tmp_path: Path, rank: int | None):
    assert_round_trip(stir(upcycle(base, expert_rank=rank)), tmp_path)


def test_skip_path_segment_weights_and_box_head_are_saved_too(fast_base: Path, tmp_path: Path):
    module = upcycle(fast_base, **STARTER_LIKE)
    with torch.no_grad():
        module.model.moon_skip.gate.normal_()
        module.model.moon_segment_weights.log_weights.normal_()
        words = module.model.get_input_embeddings().weight
        words.copy_(words.to(WORDS))
    assert_round_trip(module, tmp_path)


def test_words_of_a_small_model_take_a_byte_a_number_and_keep_their_direction(fast_base: Path, tmp_path: Path):
    module = stir(upcycle(fast_base, **STARTER_LIKE))
    exact = module.model.get_input_embeddings().weight.detach().clone()
    save_moon(module, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    (name,) = (name for name in stored if name.endswith("embed_tokens.weight"))
    assert stored.pop(name).dtype == WORDS
    assert WORDS not in {tensor.dtype for tensor in stored.values()}
    assert torch.equal(module.model.get_input_embeddings().weight, exact)
    loaded = load_module(str(tmp_path)).model.get_input_embeddings().weight
    assert loaded.dtype == exact.dtype
    assert torch.cosine_similarity(loaded, exact).min() > 0.995


def test_loading_in_another_dtype(checkpoint: Path):
    assert {p.dtype for p in load_module(str(checkpoint), torch.bfloat16).model.parameters()} == {torch.bfloat16}


def test_checkpoint_contains_no_executable_formats(checkpoint: Path):
    assert {file.suffix for file in checkpoint.iterdir()} <= {".json", ".safetensors", ".jinja", ".txt"}


@pytest.mark.parametrize("change", ["removed", "added", "reshaped"])
def test_weights_that_do_not_fit_are_refused_by_name(damaged: Path, change: str):
    weights = load_file(damaged / "model.safetensors")
    name = next(name for name in weights if "router" in name)
    if change == "removed":
        del weights[name]
    elif change == "added":
        weights["stranger"] = torch.zeros(2)
    else:
        weights[name] = torch.zeros(5, 32)
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="stranger" if change == "added" else name):
        load_module(str(damaged))


def test_a_base_model_is_no_moon_checkpoint(base: Path):
    with pytest.raises(ModelError, match="no MOON checkpoint"):
        load_module(str(base))


def test_a_moon_checkpoint_is_not_upcycled_again(checkpoint: Path):
    with pytest.raises(ModelError, match="MOON checkpoint already"):
        upcycle(checkpoint)


def test_folder_without_configuration(damaged: Path):
    (damaged / "config.json").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_module(str(damaged))


def test_broken_configuration(damaged: Path):
    (damaged / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_module(str(damaged))


@pytest.mark.parametrize("moon", [{"experts": 2}, {"wisdom": 9}])
def test_configuration_of_another_version(damaged: Path, moon: dict[str, int]):
    config = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps({**config, "moon": {**config["moon"], **moon}}))
    with pytest.raises(ModelError, match="MOON configuration cannot be read"):
        load_module(str(damaged))


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
def test_corrupted_weights(damaged: Path, content: bytes):
    (damaged / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_module(str(damaged))


def test_truncated_weights(damaged: Path):
    file = damaged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_module(str(damaged))


def test_pickled_weights_are_never_read(damaged: Path):
    (damaged / "model.safetensors").rename(damaged / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors"):
        load_module(str(damaged))


@pytest.mark.parametrize("path", ["/nowhere/at/all", "./nowhere", "one-name", "a/b/c", "bad name/with spaces"])
def test_paths_that_lead_nowhere(path: str):
    with pytest.raises(ModelError, match=r"no such folder|not a local folder"):
        load_module(path)


def test_code_in_a_checkpoint_is_not_run(damaged: Path):
    (damaged / "evil.py").write_text(f"open({str(damaged / 'ran')!r}, 'w')\nclass Model: pass\n")
    config = json.loads((damaged / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Model", "AutoModel": "evil.Model"}
    (damaged / "config.json").write_text(json.dumps(config))
    load_module(str(damaged))
    assert not (damaged / "ran").exists()


def test_box_head_needs_a_feature_map(base_of: Callable[[str], Path]):
    with pytest.raises(ModelError, match="feature map"):
        upcycle(base_of("smolvlm"), box_head=True)


def test_loading_shows_no_progress_bar_and_leaves_the_setting_alone(
    base_of: Callable[[str], Path], tmp_path: Path, capfd
):
    save_moon(upcycle(base_of("smolvlm"), expert_rank=2), tmp_path)
    shown = transformers_logging.is_progress_bar_enabled()
    capfd.readouterr()
    load_module(str(tmp_path))
    assert "Loading weights" not in capfd.readouterr().err
    assert transformers_logging.is_progress_bar_enabled() == shown
