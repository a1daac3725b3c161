from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from shop_samples import picture

from app.api import create_api
from app.api.products import PICTURES_IN_WORK
from tests.loops import finished

PICTURE = "/api/v1/products/red-chair/images/0"


@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=99999999-", "bytes=-", "lines=1", "bytes=" + "0-1," * 200])
def test_a_picture_is_sent_whole_whatever_part_is_asked_for(client, asked):
    answer = client.get(PICTURE, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, picture("red"))
    assert answer.headers["accept-ranges"] == "none"


def test_many_pictures_at_once_wait_for_each_other_and_keep_nobody_else_waiting(published, monkeypatch):
    find, gate, full = published.engine.product, threading.Event(), threading.Event()
    lock, in_work, most = threading.Lock(), 0, 0

    def slow(product_id: str):
        nonlocal in_work, most
        with lock:
            in_work += 1
            most = max(most, in_work)
            if in_work == PICTURES_IN_WORK:
                full.set()
        assert gate.wait(10)
        with lock:
            in_work -= 1
        return find(product_id)

    monkeypatch.setattr(published.engine, "product", slow)

    async def ask() -> tuple[httpx.Response, list[httpx.Response]]:
        transport = httpx.ASGITransport(create_api(published))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            pictures = [asyncio.create_task(client.get(PICTURE)) for _ in range(60)]  # more than threads for all else
            assert await asyncio.to_thread(full.wait, 10)
            found = await client.get("/api/v1/search?text=chair")
            gate.set()
            return found, await asyncio.gather(*pictures)

    found, pictures = finished(ask())
    assert found.status_code == 200
    assert [answer.status_code for answer in pictures] == [200] * 60
    assert most == PICTURES_IN_WORK
