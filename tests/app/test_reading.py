"""How bodies are read: what base64 may look like, how much JSON may hold, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import base64
import json
import threading

import httpx
import pytest
from answers import ids, message
from shop_samples import picture

from app import reading
from app.api import create_api
from app.errors import BadInputError
from app.reading import MAX_COMMAS, PIECE, SMALL_BYTES, from_base64
from tests.loops import finished

API = "/api/v1"
BYTES = bytes(range(256)) * 1000


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, PIECE // 4 * 3 - 1, PIECE // 4 * 3, PIECE // 4 * 3 + 1, 200_000])
def test_base64_of_any_length_is_decoded(length):
    data = BYTES[:length]
    text = base64.b64encode(data).decode()
    assert from_base64(text) == data
    assert from_base64(f"data:image/png;base64,{text}") == data
    assert from_base64(base64.encodebytes(data).decode()) == data


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "ab",
        "abc",
        "ab==cdef",
        "abc=" * 2,
        "abcd====",
        "=abc",
        "abc!",
        "żółw",
        "base64,base64",
        "A" * (PIECE - 4) + "AA==" + "A" * 8,
        "A" * PIECE + "base64,",
    ],
)
def test_what_is_not_base64_is_refused(text):
    with pytest.raises(BadInputError, match="not valid base64"):
        from_base64(text)


@pytest.mark.parametrize("path", ["search", "predict", "predict/batch", "recommend", "detect"])
def test_json_of_very_many_values_is_refused_before_it_is_parsed(client, path, monkeypatch):
    monkeypatch.setattr(reading.BaseModel, "model_validate_json", None)
    for many in ([0] * (MAX_COMMAS + 2), {str(number): 0 for number in range(MAX_COMMAS + 2)}):
        answer = client.post(f"{API}/{path}", json={"filters": {"attributes": many}})
        assert "more than 10000 values" in message(answer, 422)


@pytest.mark.parametrize("path", ["search", "predict/batch"])
def test_other_requests_are_answered_while_a_large_body_is_decoded(published, monkeypatch, path):
    photo = base64.b64encode(picture("red", "BMP", size=(200, 200))).decode()
    body = {"products": [{"image": photo}]} if path == "predict/batch" else {"image": photo, "limit": 2}
    assert len(photo) > SMALL_BYTES
    entered, gate = threading.Event(), threading.Event()
    parse = reading._parse

    def slow(*asked):
        entered.set()
        assert gate.wait(10)
        return parse(*asked)

    monkeypatch.setattr(reading, "_parse", slow)

    async def both() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_api(published))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            large = asyncio.create_task(client.post(f"{API}/{path}", json=body))
            assert await asyncio.to_thread(entered.wait, 10)
            alive = await client.get(f"{API}/health/live")
            gate.set()
            return [alive, await large]

    alive, large = finished(both())
    assert alive.json() == {"live": True}
    assert large.status_code == 200
    if path == "search":
        assert set(ids(large)) == {"red-chair", "red-sofa"}


def test_json_is_read_only_where_it_says_that_it_is(client):
    liked = json.dumps({"liked": ["lamp"]}).encode()
    for kind, status in (("application/json; charset=utf-8", 200), ("text/plain", 415), ("", 415)):
        answer = client.post(f"{API}/recommend", content=liked, headers={"Content-Type": kind})
        assert answer.status_code == status


@pytest.mark.parametrize(
    "body", [{"limit": "12"}, {"limit": True}, {"facets": "no"}, {"box": ["1", 2, 3, 4]}, {"weights": {"photo": "1"}}]
)
def test_values_are_of_the_type_that_is_described(client, body):
    assert next(iter(body)) in message(client.post(f"{API}/search", json={"text": "x", **body}), 422)


def test_a_whole_number_may_have_a_point(client):
    assert len(ids(client.post(f"{API}/search", json={"text": "x", "limit": 3.0, "offset": 0.0}))) == 3
    assert "limit" in message(client.post(f"{API}/search", json={"text": "x", "limit": 3.5}), 422)
    huge = client.post(
        f"{API}/search", content=b'{"text": "x", "limit": 1e999}', headers={"Content-Type": "application/json"}
    )
    assert "limit" in message(huge, 422)
