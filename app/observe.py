"""What every response passes on its way out: it is counted, and gets the headers that browsers obey."""

from __future__ import annotations

import re
import time

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.guard import API, METRICS
from app.metrics import Metrics
from app.serving import Service

PREFIX = re.compile(r"/api/v\d+")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of answers that are no page: nothing in them may be executed or shown in a frame."""

PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob: http: https:; media-src 'self' blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
"""Gradio's scripts and styles are inline, and it compiles templates; pictures may lie elsewhere on the web."""

DOCS_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'unsafe-inline' https://cdn.jsdelivr.net; img-src 'self' data: https://fastapi.tiangolo.com; "
    "connect-src 'self'; frame-ancestors 'none'"
)
"""FastAPI's page loads Swagger UI from that server."""


def observe(api: FastAPI, service: Service) -> None:
    """Count and mark every response, and serve the counts under ``/metrics`` in Prometheus' text format."""
    api.add_middleware(Observed, metrics=service.metrics)

    @api.get(METRICS, include_in_schema=False)
    def metrics(request: Request) -> Response:
        service.update_metrics()
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


class Observed:
    """ASGI middleware; the outermost, so that refusals are counted and marked too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), "500"
        headers = {**SECURITY_HEADERS, **_policy(scope["path"])}

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                present = MutableHeaders(scope=message)
                for name, value in headers.items():
                    present.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, marked)
        finally:
            route = _route(scope)
            self._metrics.requests.labels(route, status).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - start)


def _policy(path: str) -> dict[str, str]:
    if path.startswith(API) or path in (METRICS, "/openapi.json"):
        return {}
    return {"Content-Security-Policy": DOCS_POLICY if path == "/docs" else PAGE_POLICY}


def _route(scope: Scope) -> str:
    """The pattern that the path fitted, of which there are few; an included router knows its own without a prefix."""
    pattern = getattr(scope.get("route"), "path", "none")
    prefix = PREFIX.match(scope["path"])
    return pattern if prefix is None or pattern.startswith(API) else f"{prefix[0]}{pattern}"
