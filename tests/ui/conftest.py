"""The real page, served by this process and driven in Chromium."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from app.api import create_api
from app.serving import Service
from tests.ui.sample_shop import demo_products, hostile_products, service
from ui.page import mount

WAIT_MS = 15_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]


@pytest.fixture(scope="session")
def shop_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = service(tmp_path_factory.mktemp("shop"), [*demo_products(), *hostile_products()])
    yield running
    running.close()


@pytest.fixture(scope="session")
def shop_url(shop_service: Service) -> Iterator[str]:
    with _served(shop_service) as url:
        yield url


@pytest.fixture(scope="session")
def empty_shop_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    running = service(tmp_path_factory.mktemp("empty"), [])
    with _served(running) as url:
        yield url
    running.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = "Chromium is missing: install it, on Debian with `apt-get install chromium`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", *QUIET, *CAMERA]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address in a fresh browser window; at the end, errors in the page and foreign requests fail the test."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def open_(url: str, width: int = 1280, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 844}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        own = (url.split("?")[0], "data:", "blob:")
        page.on("pageerror", lambda error: problems.append(f"error in the page: {error}"))
        page.on("request", lambda sent: None if sent.url.startswith(own) else problems.append(f"foreign: {sent.url}"))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []


@contextmanager
def _served(shop: Service) -> Iterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(mount(create_api(shop), shop), port=0, log_level="warning", timeout_graceful_shutdown=1)
    )
    started = threading.Event()
    original = server.startup

    async def startup(sockets=None) -> None:
        await original(sockets)
        started.set()

    server.startup = startup
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(30), "the page's server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(10)
