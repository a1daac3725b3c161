"""How many tokens products have, how many fit into a GPU's memory, and which device that is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import picture, upcycle

from app.moon import batch_size
from app.moon.batch_size import tokens_that_fit
from app.moon.detect import NoDetector
from app.moon.device import choose_device, choose_dtype
from app.moon.embedder import MoonEmbedder
from app.moon.prompt import model_input, product_text
from app.schema import Product

CHAIR = Product(id="1", title="red chair", category=["Furniture", "Chairs"], attributes={"color": ["red"]})


def embedder_of(base: Path) -> MoonEmbedder:
    return MoonEmbedder(upcycle(base, expert_rank=2), NoDetector(), "tiny", "f", 4)


@pytest.mark.parametrize("sizes", [(), ((64, 64),), ((200, 90), (30, 300))])
def test_a_product_has_about_as_many_tokens_as_were_counted(base: Path, sizes: tuple[tuple[int, int], ...]):
    embedder = embedder_of(base)
    images = [picture(seed, size) for seed, size in enumerate(sizes)]
    crops = [image for image in images for _ in range(2)]
    read = embedder.module.tokens([model_input(crops, product_text(CHAIR))])["input_ids"].shape[1]
    assert 0.85 * read <= embedder.tokens(CHAIR, images) <= 2 * read


def test_tokens_grow_with_pixels_where_the_model_sees_more_of_them(base_of, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch_size, "SIDE_STEP", 28)
    small, large = picture(1, (28, 28)), picture(1, (500, 500))
    growing, fixed = embedder_of(base_of("qwen2.5-vl")), embedder_of(base_of("fastvlm"))
    assert growing.tokens(CHAIR, [large]) > growing.tokens(CHAIR, [small])
    assert fixed.tokens(CHAIR, [large]) == fixed.tokens(CHAIR, [small])


class Gpu:
    """Stands for ``torch.cuda`` with ``free`` bytes, of which one product takes ``used``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int, used: int) -> None:
        answers = {"memory_allocated": 1000, "max_memory_allocated": 1000 + used, "mem_get_info": (free, 10 * free)}
        answers |= {"synchronize": None, "empty_cache": None, "reset_peak_memory_stats": None}
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, lambda *args, answer=answer: answer)


def test_the_free_memory_of_a_gpu_decides_how_many_tokens_fit(fast_base: Path, monkeypatch: pytest.MonkeyPatch):
    embedder, device = embedder_of(fast_base), torch.device("cuda")
    Gpu(monkeypatch, free=1_000_000_000, used=1_000_000_000)
    alone = tokens_that_fit(embedder, device)
    assert alone > 1  # one product has to go through in any case
    Gpu(monkeypatch, free=50_000_000_000, used=1_000_000_000)
    assert tokens_that_fit(embedder, device) == pytest.approx(50 * batch_size.SHARE_OF_FREE_MEMORY * alone, abs=1)
    Gpu(monkeypatch, free=50_000_000_000, used=1)
    assert tokens_that_fit(embedder, device) == batch_size.MOST_TOKENS


def test_every_process_of_a_launch_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: "H200")
    assert choose_device("auto") == ("cuda:0", "H200, one of 2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto")[0] == "cuda:1"
    assert choose_device("cpu") == ("cpu", "chosen by MOON_DEVICE")


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_computes_in_bfloat16_if_it_can(monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert choose_dtype("cuda:0")[0] == dtype
    assert choose_dtype("cpu")[0] == torch.float32
