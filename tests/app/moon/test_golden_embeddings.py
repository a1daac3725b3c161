"""The shipped starter gives the vectors that it gave when it was released.

A change of these vectors needs a new index of every catalog. If it is meant, write them anew:
``python tests/app/moon/test_golden_embeddings.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.moon.embedder import load_encoder
from app.schema import Product, Query
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).with_suffix(".json")
PHOTO = ROOT / "demo" / "photos" / "bs0-armchair-c0_p0.webp"
PICTURE = ROOT / "demo" / "images" / "bs0-armchair-c0_0.webp"
CHAIR = Product(id="1", title="White armchair", category=["Furniture", "Chairs"], attributes={"color": ["white"]})
SHOWN = 32
"""Numbers of each vector that are kept."""


def vectors() -> dict[str, NDArray[np.float32]]:
    encoder = load_encoder(Settings(model=str(ROOT / "models" / "moon-starter"), device="cpu"))
    photo, picture = (Image.open(file).convert("RGB") for file in (PHOTO, PICTURE))
    queries = [Query(text="white armchair"), Query(text="Sessel"), Query(image=photo), Query("in blue", photo)]
    named = zip(("text", "German text", "photo", "photo and text"), encoder.embed_queries(queries)[0], strict=True)
    return {
        **dict(named),
        "product": encoder.embed_products([CHAIR], [[picture]])[0],
        "product without picture": encoder.embed_products([CHAIR], [[]])[0],
        "label": encoder.embed_labels(["Furniture > Chairs"], "category")[0],
    }


@pytest.fixture(scope="module")
def now() -> dict[str, NDArray[np.float32]]:
    return vectors()


@pytest.mark.parametrize("name", json.loads(GOLDEN.read_text()) if GOLDEN.exists() else ["none kept"])
def test_the_starter_embeds_as_when_it_was_released(now, name):
    kept = np.array(json.loads(GOLDEN.read_text())[name])
    np.testing.assert_allclose(now[name][:SHOWN], kept, atol=2e-3)


def test_nearest_by_meaning_and_by_looks(now):
    assert now["text"] @ now["product"] > now["text"] @ now["photo"]
    assert now["text"] @ now["German text"] > now["text"] @ now["photo"]
    assert now["photo"] @ now["product"] > now["text"] @ now["photo"]


if __name__ == "__main__":
    kept = {name: [round(float(number), 5) for number in vector[:SHOWN]] for name, vector in vectors().items()}
    GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")
