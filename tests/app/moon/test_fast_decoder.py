"""The decoder as it runs on a CPU computes what the trained one does; others keep their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import picture, stir, upcycle

from app.moon import compiled
from app.moon.embedder import load_encoder
from app.moon.fast_decoder import FastDecoder
from app.moon.load import save_moon
from app.moon.prompt import label_text, model_input, product_text, query_text
from app.moon.transformer import MoonTransformer
from app.schema import Product, Query
from app.settings import Settings

STARTER: dict[str, Any] = {"attention": "bidirectional", "expert_rank": 4, "skip": True, "pooling": "segments"}
CHAIR = Product(id="1", title="oak chair", category=["Furniture", "Chairs"], attributes={"color": ["red", "white"]})
INPUTS = [
    model_input([], query_text("red chair")),
    model_input([], product_text(CHAIR)),
    model_input([], label_text("red", "attribute")),
    model_input([picture(1), picture(2)], product_text(CHAIR)),
]

with_openvino = pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed")


def fast(module: MoonTransformer) -> MoonTransformer:
    FastDecoder.of(module.model.get_decoder(), module.moon)
    return module


@with_openvino
@pytest.mark.parametrize("more", [{}, {"experts": 5, "top_k": 3}])
@pytest.mark.parametrize("rows", [[0], [1], [0, 1, 2], [3, 3, 3]])
def test_gives_the_tokens_of_the_trained_decoder(rows, more, fast_base: Path):
    trained = stir(upcycle(fast_base, **STARTER, **more))
    served = fast(stir(upcycle(fast_base, **STARTER, **more)))
    assert type(served.model.get_decoder()) is FastDecoder
    batch = trained.tokens([INPUTS[row] for row in rows])
    real = batch["attention_mask"].bool()
    with torch.inference_mode():
        expected, found = (module(dict(batch))["token_embeddings"] for module in (trained, served))
    torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-5)


@with_openvino
def test_padding_changes_nothing(fast_base: Path):
    served = fast(stir(upcycle(fast_base, **STARTER)))
    with torch.inference_mode():
        alone, beside = (served(served.tokens(INPUTS[:count]))["token_embeddings"][0] for count in (1, 3))
    assert len(beside) > len(alone)
    padded_left = served.tokenizer.padding_side == "left"
    torch.testing.assert_close(
        beside[-len(alone) :] if padded_left else beside[: len(alone)], alone, rtol=1e-4, atol=1e-5
    )


OTHERS: list[dict[str, Any]] = [
    {"attention": "causal"},
    {"expert_rank": None},
    {"renormalise": False},
    {"top_k": 1},
    {"guided": False},
    {"moe_layers": "upper_half_alternate"},
]


@pytest.mark.parametrize("other", OTHERS)
def test_other_models_keep_their_own_decoder(other, fast_base: Path):
    module = fast(upcycle(fast_base, **{**STARTER, **other}))
    assert not isinstance(module.model.get_decoder(), FastDecoder)


def test_another_precision_stays_with_torch(fast_base: Path):
    module = upcycle(fast_base, **STARTER)
    module.model.to(torch.bfloat16)
    assert not isinstance(fast(module).model.get_decoder(), FastDecoder)


@with_openvino
def test_queries_are_the_same_with_and_without_openvino(fast_base: Path, tmp_path: Path, monkeypatch):
    save_moon(stir(upcycle(fast_base, **STARTER)), tmp_path)
    settings = Settings(model=str(tmp_path), device="cpu")
    with_it = load_encoder(settings)
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    without = load_encoder(settings)
    assert isinstance(with_it.module.model.get_decoder(), FastDecoder)
    assert not isinstance(without.module.model.get_decoder(), FastDecoder)
    queries = [Query(text="red chair"), Query(text="oak", image=picture(2))]
    same = (with_it.embed_queries(queries)[0] * without.embed_queries(queries)[0]).sum(axis=1)
    assert same.min() > 0.9999


WAITS = """
import os, sys
from app.moon import load_encoder
print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_of_torch_wait_without_spinning_unless_told_otherwise(given, expected):
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"} | given
    run = subprocess.run(
        [sys.executable, "-c", WAITS], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.split() == [expected, "True"]
