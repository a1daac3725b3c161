"""The real process behind `app serve`: its limits, its end, and builds exchanged under load."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from shop_samples import publish
from uvicorn.server import ServerState

from app import server
from app.settings import ROOT, Settings
from app.store import open_store
from tests.loops import finished

API = "/api/v1"


class Process:
    """A running server and its address."""

    def __init__(self, data: Path, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}"
        paths = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'app'}"
        own = {"MOON_DATA": str(data), "PYTHONPATH": paths, "GATE": str(data), **environment}
        script = ROOT / "tests" / "app" / "serve_sample.py"
        command = [sys.executable, str(script), "serve", "--port", str(port)]
        self.process = subprocess.Popen(command, env=os.environ | own, stderr=subprocess.DEVNULL)
        until(lambda: self.process.poll() is not None or self._listens(), seconds=60)

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30, **options)  # type: ignore[arg-type]

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def serve(tmp_path, embedder, products) -> Iterator[Callable[..., Process]]:
    publish(open_store(Settings(_env_file=None, data=tmp_path)), embedder, products)
    running: list[Process] = []

    def start(**environment: str) -> Process:
        running.append(Process(tmp_path, **environment))
        return running[-1]

    yield start
    for process in running:
        process.process.kill()
        process.process.wait(10)


def test_a_stopped_server_finishes_what_it_took_and_refuses_what_is_new(serve, tmp_path):
    process = serve()
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(process.get, f"{API}/search?text=gate")
        until((tmp_path / "entered").exists)
        process.process.send_signal(signal.SIGTERM)
        until(lambda: process.get(f"{API}/health/ready").status_code == 503)
        refused = process.get(f"{API}/search?text=chair")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "stopping" in refused.json()["detail"]
        (tmp_path / "open").touch()
        assert len(taken.result(30).json()["hits"]) == 8
    assert process.process.wait(20) in (0, -signal.SIGTERM)


def test_a_stopped_server_waits_for_an_answer_no_longer_than_it_was_told(serve, tmp_path):
    process = serve(MOON_SHUTDOWN_SECONDS="0.1")
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(process.get, f"{API}/search?text=gate")
        until((tmp_path / "entered").exists)
        process.process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.HTTPError):
            process.get(f"{API}/search?text=chair").raise_for_status()
        until(lambda: not process._listens())
        (tmp_path / "open").touch()
        taken.exception(30)
    assert process.process.wait(20) in (0, -signal.SIGTERM)


def test_builds_published_and_pruned_under_load_fail_no_request(serve, tmp_path, embedder, products):
    process = serve()
    store = open_store(Settings(_env_file=None, data=tmp_path))
    builds = [f"20261121T060000-00000{number}" for number in range(2, 6)]
    answers: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def shop(number: int) -> None:
        with httpx.Client(base_url=process.url, timeout=30) as client:
            while not stop.is_set():
                text = {"text": "red chair", "filters": {"category": ["Furniture"]}, "offset": number}
                response = client.post(f"{API}/search", json=text)
                answers[response.status_code, response.json().get("build", response.text)] += 1
                response = client.get(f"{API}/similar/red-chair")
                answers[response.status_code, response.json().get("build", response.text)] += 1

    with ThreadPoolExecutor(4) as pool:
        shoppers = [pool.submit(shop, number) for number in range(4)]
        try:
            for build in builds:
                publish(store, embedder, products, build)
                until(lambda build=build: answers[200, build] >= 8)
                for old in [old.build for old in store.builds() if old.build != build]:
                    store.drop(old)
        finally:
            stop.set()
        [shopper.result(30) for shopper in shoppers]
    assert {status for status, _ in answers} == {200}, answers
    assert {build for _, build in answers} >= set(builds)


def test_long_addresses_and_headers_are_refused_by_the_server_itself(serve):
    process = serve()
    longest = "中" * 2000
    assert process.get(f"{API}/search", params={"text": longest}).status_code == 200
    ready = f"{API}/health/ready"
    for path, headers in ((f"{ready}?{'x' * 200_000}", {}), (ready, {"X-Long": "x" * 200_000})):
        connection = HTTPConnection(*process.address, timeout=30)
        connection.request("GET", path, headers=headers)
        assert connection.getresponse().status == 400
    assert process.get(f"{API}/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("trusted", "client"), [(None, "10.0.0.1"), ("10.0.0.0/8", "1.2.3.4"), ("10.9.9.9", "10.0.0.1")]
)
def test_the_address_a_proxy_tells_is_believed_only_of_a_trusted_one(trusted, client):
    api = FastAPI()

    @api.get("/")
    def address(request: Request) -> str:
        return request.client.host if request.client else ""

    config = server.configured(api, Settings(_env_file=None, trusted_proxies=trusted), "127.0.0.1", 0)
    config.load()
    asked = TestClient(config.loaded_app, client=("10.0.0.1", 1))  # type: ignore[arg-type]
    assert asked.get("/", headers={"X-Forwarded-For": "1.2.3.4"}).json() == client


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHos"])
def test_a_connection_whose_next_head_takes_too_long_is_closed(monkeypatch, sent):
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.05)
    assert received(sent).count(b"200 OK") == sent.count(b"\r\n\r\n")


@pytest.mark.parametrize("head", [b"GET /?", b"GET / HTTP/1.1\r\nX-Long: ", b"GET / HTTP/1.1\r\nHost: x\r\nX-"])
def test_a_head_that_does_not_end_is_refused(head):
    assert received(head + b"x" * 50_000).startswith(b"HTTP/1.1 400")


def test_a_head_that_ends_too_late_is_refused():
    assert received(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 50_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 400")


def problem_in(answer: bytes) -> tuple[bytes, dict[str, object]]:
    """The head of the only answer, in small letters, and its problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert f"content-length: {len(body)}".encode() in head
    assert b"connection: close" in head
    return head.lower(), json.loads(body)


@pytest.mark.parametrize("sent", [b"no HTTP\r\n\r\n", b"GET /?" + b"x" * 50_000])
def test_what_is_no_request_is_answered_with_a_problem(sent):
    head, problem = problem_in(received(sent))
    assert head.startswith(b"http/1.1 400")
    assert (problem["type"], problem["status"]) == ("urn:moon:bad-request", 400)


def test_a_connection_too_many_is_told_when_to_come_back(monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    head, problem = problem_in(received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert head.startswith(b"http/1.1 503")
    assert b"retry-after: 1" in head
    assert (problem["type"], problem["status"]) == ("urn:moon:full", 503)


def test_a_long_body_is_no_head():
    post = b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    assert received(post + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").count(b"200 OK") == 2


def received(sent: bytes) -> bytes:
    """All that a connection answers until it is closed."""
    api = FastAPI()
    api.api_route("/", methods=["GET", "POST"])(lambda: {})
    config = server.configured(api, Settings(_env_file=None), "127.0.0.1", 0)
    config.load()
    state = ServerState()

    async def answers() -> bytes:
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: server.Connection(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        listening.close()
        return answer

    return finished(answers())
