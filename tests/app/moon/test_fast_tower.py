"""The tower as it runs on a CPU computes what the trained one does, and no picture twice."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tiny_models import picture, stir, upcycle

from app.moon import compiled
from app.moon.embedder import MoonEmbedder, load_encoder
from app.moon.fast_tower import FastTower
from app.moon.load import save_moon
from app.moon.tower import EfficientNetLiteConfig, EfficientNetLiteModel
from app.moon.tower_memory import TowerMemory, remembering
from app.schema import Product, Query
from app.settings import Settings

ENGINES = [
    "torch",
    pytest.param("openvino", marks=pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed")),
]


@pytest.fixture(scope="module")
def trained() -> EfficientNetLiteModel:
    """A random tower with BatchNorm statistics that matter."""
    torch.manual_seed(0)
    tower = EfficientNetLiteModel(EfficientNetLiteConfig(image_size=64, grid=2))
    for module in tower.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return tower


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    return request.param


@pytest.fixture
def fast(engine: str, trained: EfficientNetLiteModel) -> FastTower:
    return FastTower.of(copy.deepcopy(trained))


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 3, 64, 64), (2, 3, 96, 64)])
def test_gives_the_maps_and_statistics_of_the_trained_tower(shape, fast, trained):
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        for found, expected in zip(fast.look(pixels), trained.look(pixels), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_upper_stages_go_on_from_where_lower_ones_end(fast, trained):
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        maps, below = fast.lower(pixels)
        output, above = trained.upper(maps)
        expected = trained.look(pixels)
    torch.testing.assert_close(output, expected[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.cat([below, above], dim=1), expected[1], rtol=1e-3, atol=1e-3)
    assert maps.shape[1] == trained.lower_channels
    assert below.shape[1] == trained.lower_statistics_size


def test_each_of_its_outputs_is_that_of_the_trained_tower(fast, trained):
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        found, expected = fast(pixel_values=pixels), trained(pixel_values=pixels)
    for name in ("last_hidden_state", "pooler_output", "statistics"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-3)
    assert fast.statistics_size == trained.statistics_size


def computed(tower: FastTower, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each computation of the tower is given from now on."""
    counts: list[int] = []
    plain = FastTower.look

    def look(self: FastTower, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self is tower:
            counts.append(len(pixel_values))
        return plain(self, pixel_values)

    monkeypatch.setattr(FastTower, "look", look)
    return counts


def test_a_remembered_picture_is_not_computed_again(fast, monkeypatch):
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    counts = computed(fast, monkeypatch)
    with torch.inference_mode(), remembering(fast, TowerMemory()):
        fast.look(pixels[:2])
        again = fast.look(pixels[[2, 1, 2]])
    assert counts == [2, 1]
    with torch.inference_mode():
        for found, expected in zip(again, fast.look(pixels[[2, 1, 2]]), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert counts == [2, 1, 3]


@pytest.fixture
def embedder(engine: str, fast_base: Path, tmp_path: Path) -> MoonEmbedder:
    save_moon(stir(upcycle(fast_base, box_head=True, skip=True, picture_dims=8)), tmp_path)
    return load_encoder(Settings(model=str(tmp_path), device="cpu"))


def test_the_detector_and_the_model_share_what_the_tower_sees(embedder, monkeypatch):
    tower = embedder.module.model.vision_tower
    counts = computed(tower, monkeypatch)
    _, boxes = embedder.embed_queries([Query(image=picture())])
    assert sum(counts) == 1 + sum(box is not None for box in boxes)
    counts.clear()
    embedder.embed_products([Product(id="1", title="chair")], [[picture(1)]])
    assert sum(counts) <= 2


@pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed")
def test_vectors_with_and_without_openvino_are_the_same_within_rounding(fast_base, tmp_path, monkeypatch):
    save_moon(stir(upcycle(fast_base, skip=True, picture_dims=8, pooling="segments")), tmp_path)
    settings = Settings(model=str(tmp_path), device="cpu")
    queries = [Query(image=picture(1)), Query(text="red chair"), Query(text="oak", image=picture(2))]
    with_it = load_encoder(settings)
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    without = load_encoder(settings)
    assert with_it.module.model.vision_tower._look is not None
    assert without.module.model.vision_tower._look is None
    same = (with_it.embed_queries(queries)[0] * without.embed_queries(queries)[0]).sum(axis=1)
    assert same.min() > 0.9999
    assert with_it.fingerprint == without.fingerprint


def test_torch_is_enough(trained, monkeypatch, caplog):
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    with caplog.at_level("INFO"):
        tower = FastTower.of(copy.deepcopy(trained))
    assert "OpenVINO is not installed" in caplog.text
    with torch.inference_mode():
        assert tower.features(torch.zeros(1, 3, 64, 64)).shape == (1, 1280, 2, 2)


def test_openvino_uses_as_many_threads_as_torch(trained, monkeypatch):
    openvino = pytest.importorskip("openvino")
    given, compile_model = [], openvino.compile_model
    monkeypatch.setattr(openvino, "compile_model", lambda *args: given.append(args[2]) or compile_model(*args))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    FastTower.of(copy.deepcopy(trained))
    assert given[0]["INFERENCE_NUM_THREADS"] == 1


REPORTS = """
import sys
from app.moon.fast_tower import FastTower
from app.moon.tower import EfficientNetLiteConfig, EfficientNetLiteModel
tower = FastTower.of(EfficientNetLiteModel(EfficientNetLiteConfig(image_size=32, grid=1)))
print(tower._look is not None, [name for name in sys.modules if name.startswith("openvino_telemetry.")])
"""


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed")
def test_openvino_reports_nothing_to_its_makers(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "CI": "false"}
    run = subprocess.run(
        [sys.executable, "-c", REPORTS], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.strip() == "True []"
    assert not (tmp_path / "intel").exists()
