"""What a request passes before the API answers it: its key, its client's rate, and room for one more."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.batching import client_gone
from app.problems import Kind
from app.rates import TokenBuckets
from app.refusals import later, refusal
from app.serving import Service

API = "/api/"
METRICS = "/metrics"
OPEN = re.compile(r"/api/v\d+/(health/(live|ready)|products/.+/images/\d+)")
"""Open to everyone at any rate: probes ask without a key, and so do the page's pictures, a whole page of them at once.

A browser sends no key with an ``<img>``. How many pictures are in work is bounded where they are served.
"""

PAGE = "/gradio_api/queue/join"
"""Where the page asks for what a shopper does: without a key, at the rate of one client. Its queue bounds the rest.

Files that a shopper sends before that count for nothing here: a batch sends each of its thousand by itself.
"""

BODY_SECONDS = 30.0
"""How long a client may take to send a request."""


def protect(api: FastAPI, service: Service) -> None:
    """Put the guard in front of every route, and CORS in front of the guard, since browsers ask for that without a key.

    CORS is there without origins too: it keeps Gradio from answering every origin in its place.
    """
    api.add_middleware(Guard, service=service)
    api.add_middleware(
        CORSMiddleware,
        allow_origins=service.settings.cors_origins or (),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        expose_headers=["Retry-After"],
    )


class Guard:
    """ASGI middleware: 401 without a key, 429 above the client's rate, 503 while stopping or full; else the answer.

    The settings say what is limited (``api_keys``, ``rate_per_second``, ``rate_burst``, ``max_requests``): the API,
    ``/metrics`` by the key alone, what the page asks for by the rate alone. Queries of a client that closes the
    connection are marked for the encoder.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        settings = service.settings
        self._app, self._service = app, service
        self._keys = settings.api_keys
        self._buckets = (
            TokenBuckets(settings.rate_per_second, settings.rate_burst) if settings.rate_per_second else None
        )
        self._places = settings.max_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_guarded(scope["path"]):
            await self._app(scope, receive, send)
        elif refusal := self._refusal(scope):
            await refusal(scope, receive, send)
        elif scope["path"].startswith(API):
            await self._answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        is_page, key = scope["path"] == PAGE, _key(Headers(scope=scope))
        keys = () if is_page else self._keys or ()
        if keys and not _is_known(key, keys):
            return self._refused("key", Kind.NO_KEY, NO_KEY, {"WWW-Authenticate": "Bearer"})
        if scope["path"] == METRICS:
            return None
        if self._service.draining:
            wait, detail = later(1, Connection="close"), "the server is stopping; send it again"
            return self._refused("stopping", Kind.STOPPING, detail, wait)
        if self._buckets and (seconds := self._buckets.take(key if keys else _network(scope["client"]))):
            return self._refused(
                "rate", Kind.RATE, "too many requests from you; send the next one later", later(seconds)
            )
        if not is_page and self._service.requests_in_work >= self._places:
            return self._refused("full", Kind.FULL, "the server has too many requests in work; send it again", later(1))
        return None

    def _refused(self, reason: str, kind: Kind, detail: str, headers: Mapping[str, str]) -> JSONResponse:
        self._service.metrics.rejected.labels(reason).inc()
        return refusal(kind, detail, headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._service.requests_in_work += 1
        try:
            async with _watched(receive) as watched:
                await self._app(scope, watched, send)
        finally:
            self._service.requests_in_work -= 1


@asynccontextmanager
async def _watched(receive: Receive) -> AsyncIterator[Receive]:
    """A ``receive`` that reads one message ahead, so that a closed connection is known while the answer is made.

    It raises 408 if the request is not complete after ``BODY_SECONDS``.
    """
    gone, messages = threading.Event(), asyncio.Queue[Message](maxsize=1)
    deadline = asyncio.get_running_loop().time() + BODY_SECONDS
    is_complete = False

    async def read_ahead() -> None:
        while not gone.is_set():
            message = await receive()
            if message["type"] == "http.disconnect":
                gone.set()
            await messages.put(message)

    async def watched() -> Message:
        nonlocal is_complete
        if gone.is_set() and messages.empty():
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout_at(None if is_complete else deadline):
                message = await messages.get()
        except TimeoutError as error:
            raise HTTPException(408, f"the request did not arrive within {BODY_SECONDS:g} s; send it again") from error
        is_complete = not message.get("more_body", False)
        return message

    token, reader = client_gone.set(gone), asyncio.create_task(read_ahead())
    try:
        yield watched
    finally:
        reader.cancel()
        client_gone.reset(token)


NO_KEY = "the API needs a key; send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`"


def _is_guarded(path: str) -> bool:
    return path in (METRICS, PAGE) or (path.startswith(API) and not OPEN.fullmatch(path))


def _key(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _is_known(key: str, keys: tuple[SecretStr, ...]) -> bool:
    """How long it takes tells nothing of a wrong key: each comparison needs the same time."""
    return any(hmac.compare_digest(key.encode(), known.get_secret_value().encode()) for known in keys)


def _network(client: tuple[str, int] | None) -> str:
    """The client's address; of IPv6 its /64 network, which is what one customer is given."""
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return ""
    return str(ipaddress.ip_network((address, 64), strict=False) if address.version == 6 else address)
