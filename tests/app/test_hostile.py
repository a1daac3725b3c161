"""The HTTP API under broken pictures and over broken internals: it answers, and shows nothing of the server."""

from __future__ import annotations

import io
import random
import re
import resource

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from shop_samples import picture

from app.api import create_api
from app.errors import IndexUnavailableError

API = "/api/v1"
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MUTATIONS = 60
BYTES_PER_PIXEL = 12
"""Of a picture while it is decoded: palette or colours, then transparency, then the background put under it."""


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with some bytes changed, cut out, or repeated."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at, length = rng.randrange(len(broken)), rng.randint(1, 16)
        match rng.randrange(4):
            case 0:
                broken[at] = rng.randrange(256)
            case 1:
                del broken[at : at + length]
            case 2:
                broken[at:at] = broken[at : at + length] * rng.randint(1, 100)
            case 3:
                broken[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
        broken = broken or bytearray(b"\0")
    return bytes(broken)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_broken_pictures_are_read_or_refused_in_bounded_memory(client, published, kind):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = random.Random(kind)
    statuses = set()
    options = {"save_all": True, "append_images": [Image.new("RGB", (64, 48))]} if kind == "GIF" else {}
    whole = picture("red", kind, **options)
    for _ in range(MUTATIONS):
        data = mutated(whole, rng)
        answer = client.post(f"{API}/search", files={"image": ("photo", io.BytesIO(data))})
        statuses.add(answer.status_code)
    assert statuses <= {200, 400}
    assert 400 in statuses
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < BYTES_PER_PIXEL * published.settings.max_image_pixels


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyError, MemoryError, IndexUnavailableError])
@pytest.mark.parametrize("part", ["live.index", "embedder.embed_queries", "engine.search", "predictor.predict"])
def test_broken_internals_show_nothing_of_the_server(published, monkeypatch, part, error):
    def fail(*_: object, **__: object) -> None:
        raise error(f"{published.settings.data}/points: cannot be read")

    owner, _, name = part.partition(".")
    monkeypatch.setattr(getattr(published, owner), name, fail)
    asking = TestClient(create_api(published), raise_server_exceptions=False)
    answers = [
        asking.get(f"{API}/search?text=chair"),
        asking.post(f"{API}/predict", json={"title": "chair"}),
        asking.get(f"{API}/health/ready"),
        asking.get("/metrics"),
    ]
    assert any(answer.status_code in (500, 503) for answer in answers)
    for answer in answers:
        assert str(published.settings.data) not in answer.text
        assert not re.search(r"Traceback|\.py|site-packages|Error\(", answer.text)
