"""A server under load: requests per second and percentiles of the time to an answer, by number of clients.

    python benchmarks/load.py [--clients 1 8 32 128] [--requests 400] [--data .moon]

Starts `app serve` on the published index of `--data`, without the page, in a process of its own: once as it is set,
once with `MOON_BATCH_SIZE=1`. This process asks for texts, photos and both in turn. Every client sends its next
request when it has its answer; one client is what a query takes alone. A refusal (429, 503) is counted and is no
answer. CPU is the server's processor time per request, all threads together: where other work runs beside, it says more
than the clock. Memory is the resident memory of the server before the first request of its mode and after the last one;
`--requests 20000` shows whether it grows. Texts are titles of the demo catalog with a number, so that none repeats;
photos are those of the demo.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import polars as pl

from app.settings import ROOT

API = "/api/v1"
DEMO = ROOT / "demo"
SERVE = "from app import cli; cli.entry_points = lambda group: []; cli.main()"
START_SECONDS, ANSWER_SECONDS = 300, 120
MODES = ("text", "photo", "mixed")
PHOTOS = 64

Request = dict[str, Any]


class Load(NamedTuple):
    """What the clients saw, the server's processor seconds, and its memory in MB before and after."""

    seconds: float
    milliseconds: list[float]
    refused: int
    failed: int
    processor: float
    memory: tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--requests", type=int, default=400, help="of each mode and number of clients")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument(
        "--data", type=Path, default=ROOT / ".moon", help="MOON_DATA with a published index of the demo"
    )
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.requests:,} requests each\n")
    columns = "batches | query | clients | per second | p50 ms | p95 ms | p99 ms | CPU ms | refused | failed | MB"
    print(f"| {columns} before, after |\n{'| --- ' * 11}|")
    for name, environment in (("as set", {}), ("of one", {"MOON_BATCH_SIZE": "1"})):
        with served(arguments.data, environment) as (url, process):
            for mode in arguments.modes:
                for clients in arguments.clients:
                    load = asyncio.run(loaded(url, process, requests(mode), clients, arguments.requests))
                    print(f"| {name} | {mode} | {clients} | {row(load)} |", flush=True)


@contextmanager
def served(data: Path, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The address of a running server and its process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"MOON_DATA": str(data), "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", SERVE, "serve", "--port", str(port)]
    server = subprocess.Popen(command, env=os.environ | own, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(f"{url}{API}/health/ready", lambda: server.poll() is None)
        yield url, server.pid
    finally:
        server.terminate()
        server.wait(60)


def wait_until_ready(url: str, runs: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and runs():
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("the server did not become ready; is there a published index in --data?")


def requests(mode: str) -> Iterator[Request]:
    """Requests without end; no text repeats."""
    titles = pl.read_parquet(DEMO / "catalog.parquet")["title"].to_list()
    paths = pl.read_parquet(DEMO / "photos.parquet")["path"].head(PHOTOS)
    photos = [(DEMO / path).read_bytes() for path in paths]
    for number in count():
        text = f"{titles[number % len(titles)]} {number}"
        photo = {"files": {"image": ("photo", photos[number % len(photos)])}}
        yield {
            "text": {"json": {"text": text}},
            "photo": photo,
            "both": {**photo, "data": {"query": json.dumps({"text": text})}},
        }[("text", "photo", "both")[number % 3] if mode == "mixed" else mode]


async def loaded(url: str, process: int, asked: Iterator[Request], clients: int, number: int) -> Load:
    """Send so many requests, ``clients`` of them at a time."""
    milliseconds: list[float] = []
    statuses: list[int] = []
    places = iter(range(number))
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def client(session: httpx.AsyncClient) -> None:
        for _ in places:
            start = time.perf_counter()
            answer = await session.post(f"{API}/search", **next(asked))
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                milliseconds.append((time.perf_counter() - start) * 1000)

    before, worked, start = memory(process), processor(process), time.perf_counter()
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=ANSWER_SECONDS) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    seconds = time.perf_counter() - start
    refused = sum(status in (429, 503) for status in statuses)
    failed = len(statuses) - refused - len(milliseconds)
    return Load(seconds, milliseconds, refused, failed, processor(process) - worked, (before, memory(process)))


def processor(process: int) -> float:
    """Seconds of processor time, in user and in kernel mode."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> float:
    """Resident memory in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def row(load: Load) -> str:
    percentiles = np.percentile(load.milliseconds or [float("nan")], (50, 95, 99))
    times = " | ".join(f"{value:.1f}" for value in percentiles)
    before, after = load.memory
    rate = len(load.milliseconds) / load.seconds
    each = 1000 * load.processor / (len(load.milliseconds) + load.refused + load.failed)
    return f"{rate:.1f} | {times} | {each:.1f} | {load.refused} | {load.failed} | {before:.0f}, {after:.0f}"


if __name__ == "__main__":
    main()
