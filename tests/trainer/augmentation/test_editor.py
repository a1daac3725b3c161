from __future__ import annotations

import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from app.errors import BadInputError, ModelError
from trainer.augmentation.editor import Editor
from trainer.data.record import Item

CHAIR = Item("1", "Oak chair")


class Pipeline:
    """Answers with a grey picture of another mode, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict] = []

    def to(self, device: str) -> Pipeline:
        self.device = device
        return self

    def __call__(self, **asked):
        self.asked.append({**asked, "seed": asked["generator"].initial_seed()})
        return SimpleNamespace(images=[Image.new("L", (40, 30), 128)])


def test_the_pipeline_gets_the_picture_and_a_wish_and_gives_rgb():
    pipeline, photo = Pipeline(), Image.new("RGB", (8, 8))
    image = Editor(pipeline)(CHAIR, photo, random.Random(1))
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert pipeline.asked[0]["image"] is photo
    assert "unchanged" in pipeline.asked[0]["prompt"]
    assert "Oak chair" in pipeline.asked[0]["prompt"]


def test_the_same_draw_asks_for_the_same():
    pipeline = Pipeline()
    for seed in (1, 1, 2):
        Editor(pipeline)(CHAIR, Image.new("RGB", (8, 8)), random.Random(seed))
    first, again, other = ((asked["prompt"], asked["seed"]) for asked in pipeline.asked)
    assert first == again != other


def test_a_pipeline_is_loaded_from_safetensors_without_its_own_code(monkeypatch):
    calls = []

    class DiffusionPipeline:
        @staticmethod
        def from_pretrained(name, **options):
            calls.append((name, options))
            return Pipeline()

    monkeypatch.setitem(sys.modules, "diffusers", SimpleNamespace(DiffusionPipeline=DiffusionPipeline))
    editor = Editor.from_pretrained("some/pipeline", "cpu")
    assert calls == [
        ("some/pipeline", {"torch_dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False})
    ]
    assert editor._pipeline.device == "cpu"


def test_a_pipeline_with_code_of_its_own_is_refused(monkeypatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "diffusers", SimpleNamespace(DiffusionPipeline=None))
    (tmp_path / "pipeline.py").write_text("")
    with pytest.raises(ModelError, match="code of its own"):
        Editor.from_pretrained(str(tmp_path), "cpu")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(BadInputError, match=r"needs the extra `generate`.*pip install -e '\.\[train,generate\]'"):
        Editor.from_pretrained("some/pipeline", "cpu")
