"""The web server: limits of connections, and an end that loses no answer."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import FrameType

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.problems import Kind
from app.refusals import later, refusal
from app.serving import Service
from app.settings import Settings

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
"""Further ones are answered with 503."""
HEADER_SECONDS = 10.0
"""How long a connection may be without a complete head of a request, be it idle or slow."""
OTHER_THREADS = 40
"""Beside those of API requests: for the page and for reading files."""
STREAM_SECONDS = 2
"""How long streams of open pages are waited for; they never end by themselves."""
NO_HTTP = "this is no HTTP request, or its address or headers are too long; correct or shorten it"
BYTES_PER_CHARACTER = 12
"""Of a query in an address: up to four UTF-8 bytes, three characters each."""


def run(application: FastAPI, service: Service, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    Server(configured(application, service.settings, host, port), service).run()


def configured(application: FastAPI, settings: Settings, host: str, port: int) -> uvicorn.Config:
    """uvicorn with its limits set; addresses and headers fit a query of ``max_text_chars``, and not much more."""
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        http=Connection,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=settings.trusted_proxies,
        h11_max_incomplete_event_size=16_384 + BYTES_PER_CHARACTER * settings.max_text_chars,
        timeout_keep_alive=int(HEADER_SECONDS),
        timeout_graceful_shutdown=STREAM_SECONDS,
    )


class Connection(HttpToolsProtocol):
    """Refuses a head that is too long and is closed when the next one takes too long; uvicorn alone limits neither.

    What it refuses itself is a problem too, where uvicorn answers in plain text. Fewer bytes than
    ``h11_max_incomplete_event_size`` are kept of a head, beside those that came with its end.
    """

    _head_is_late: asyncio.TimerHandle | None = None
    _is_in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._is_in_head else 0
        if self._is_too_long(self._head_bytes) and not self.transport.is_closing():
            self.send_400_response(NO_HTTP)

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._is_too_long(len(self.url) + sum(len(name) + len(value) for name, value in self.headers)):
            raise ValueError("the parser makes of this error that the request is answered 400")
        self._is_in_head = False
        is_full = max(len(self.connections), len(self.tasks)) >= MAX_CONNECTIONS
        self.app = _full() if is_full else self.config.loaded_app
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_head()

    def send_400_response(self, msg: str) -> None:
        answer = refusal(Kind.BAD_REQUEST, NO_HTTP, {"Connection": "close"})
        headers = [*self.server_state.default_headers, *answer.raw_headers]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%s\r\n%s" % (head, answer.body))
        self.transport.close()

    def _is_too_long(self, head_bytes: int) -> bool:
        return head_bytes > (self.config.h11_max_incomplete_event_size or 0)

    def _expect_head(self) -> None:
        if self._head_is_late is not None:
            self._head_is_late.cancel()
        self._head_is_late = self.loop.call_later(HEADER_SECONDS, self._close_without_head)

    def _close_without_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def _full() -> JSONResponse:
    return refusal(Kind.FULL, "the server has too many connections; send it again", later(1, Connection="close"))


class Server(uvicorn.Server):
    """Has a thread for each request that the guard lets in; when told to stop, finishes these and refuses new ones."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        current_default_thread_limiter().total_tokens = self._service.settings.max_requests + OTHER_THREADS
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.draining = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Go on listening until the requests in work are answered, so that new ones get their 503."""
        try:
            async with asyncio.timeout(self._service.settings.shutdown_seconds):
                while self._service.requests_in_work:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            log.warning("stopping with %d requests unanswered", self._service.requests_in_work)
        await super().shutdown(sockets)
