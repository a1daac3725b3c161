"""What a shopper waits for, in a real browser: first view, first results after typing, layout shift.

    python benchmarks/page.py [--url http://127.0.0.1:7860/] [--words "green armchair"] [--runs 20]

Without --url, every 80th product of the demo catalog is indexed in a temporary folder and served here. Bytes
are those on the wire, of a browser with an empty cache, from the address until the page and its pictures are there. The
time to results goes from the last key stroke to the frame that has the results; layout shift is the largest single one
of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from app.settings import ROOT, Settings

DEMO = ROOT / "demo"
LONGEST_MS = 30_000
"""Without results for so long, the benchmark ends and says what the page shows."""
VIEWPORTS = {"desktop": (1280, 900), "phone": (390, 844)}
PROBES = """
window.shifts = [0];
new PerformanceObserver(list => list.getEntries().forEach(entry => window.shifts.push(entry.value)))
  .observe({ type: 'layout-shift', buffered: true });
"""
PICTURES_ARE_THERE = "[...document.images].every(picture => picture.loading === 'lazy' || picture.complete)"
FIRST_VIEW = "performance.getEntriesByType('paint').find(paint => paint.name === 'first-contentful-paint').startTime"
TIMED = """
window.timed = new Promise((done, failed) => {
  setTimeout(() => failed(new Error(`no results: ${document.querySelector('#results')?.innerText}`)), LONGEST_MS);
  let typed = 0;
  document.addEventListener('input', () => { typed = performance.now(); }, true);
  const look = () => {
    const heading = document.querySelector('#results h2')?.textContent ?? '';
    if (heading.includes(WORDS)) done(performance.now() - typed); else requestAnimationFrame(look);
  };
  look();
});
null;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running page; unset: one is served for the benchmark")
    parser.add_argument("--words", default="green armchair")
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {arguments.runs} runs, {arguments.words!r}")
    with served(arguments.url) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        print(f"{'':8} {'KB':>7} {'requests':>9} {'first view ms':>14} {'results p50':>12} {'p95 ms':>8} {'shift':>8}")
        for name, size in VIEWPORTS.items():
            measure(browser, url, name, size, arguments.words, arguments.runs)
        browser.close()


def measure(browser: Browser, url: str, name: str, size: tuple[int, int], words: str, runs: int) -> None:
    """One line: the first view, the times from typing to results, and the largest shift, each in fresh windows."""
    waits, shifts = [], []
    for _ in range(runs):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        page = context.new_page()
        page.add_init_script(PROBES)
        loads = traffic(context, page)
        page.goto(url)
        page.locator(".landing").wait_for()
        page.wait_for_function(PICTURES_ARE_THERE)
        view = sum(loads), len(loads), page.evaluate(FIRST_VIEW)
        waits.append(typed_to_results(page, words))
        shifts.append(page.evaluate("Math.max(...window.shifts)"))
        context.close()
    p95 = sorted(waits)[max(0, -(-95 * runs // 100) - 1)]
    print(
        f"{name:8} {view[0] / 1e3:7,.0f} {view[1]:9} {view[2]:14.0f} {statistics.median(waits):12.0f} {p95:8.0f} "
        f"{max(shifts):8.4f}"
    )


def traffic(context: BrowserContext, page: Page) -> list[float]:
    """Grows by the bytes on the wire of each answer."""
    loads: list[float] = []
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda finished: loads.append(finished["encodedDataLength"]))
    return loads


def typed_to_results(page: Page, words: str) -> float:
    """Milliseconds from the last key stroke to the results of all the words."""
    page.evaluate(TIMED.replace("WORDS", json.dumps(words)).replace("LONGEST_MS", str(LONGEST_MS)))
    page.locator("#words").press_sequentially(words, delay=60)
    return page.evaluate("window.timed")


def index_demo(folder: str) -> Settings:
    """Settings that search a new index of every 80th product of the demo catalog."""
    rows = pl.read_parquet(DEMO / "catalog.parquet").gather_every(80)
    images = pl.col("images").list.eval(pl.lit(f"{DEMO}/") + pl.element())
    rows.with_columns(images).write_parquet(f"{folder}/catalog.parquet")
    command = [sys.executable, "-c", "from indexer.cli import main; main()", "rebuild", f"{folder}/catalog.parquet"]
    environment = os.environ | {"MOON_DATA": f"{folder}/moon", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return Settings(data=Path(folder) / "moon")


@contextmanager
def served(url: str | None) -> Iterator[str]:
    """``url``, or the address of a server in this process."""
    if url is not None:
        yield url
        return
    from app.api import create_api
    from app.serving import Service
    from ui.page import mount

    with tempfile.TemporaryDirectory() as folder:
        service = Service.from_settings(index_demo(folder))
        service.warm_up()
        server = uvicorn.Server(
            uvicorn.Config(
                mount(create_api(service), service), port=0, log_level="warning", timeout_graceful_shutdown=1
            )
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.05)
            if not thread.is_alive():
                raise SystemExit("the server ended before it had started; its log says why")
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()
            service.close()


if __name__ == "__main__":
    main()
