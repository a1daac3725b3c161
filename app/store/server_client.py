"""Talking to a Qdrant server: the connection that the settings ask for, its errors, and patience with it."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
from tenacity import before_sleep_log, retry, retry_if_exception, stop_after_delay, wait_random_exponential

from app.errors import BadInputError, IndexUnavailableError
from app.settings import Settings

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600
"""How long a rebuild waits for a server that is being restarted; it then fails, and the next run starts there again."""

TIMEOUT_SECONDS = 120

_TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
_TRANSIENT_CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
)


def connect(settings: Settings) -> QdrantClient:
    """A client for the server at ``qdrant_url``; nothing is sent yet. Raises BadInputError for a wrong CA file."""
    secured: dict[str, Any] = {}
    if settings.qdrant_ca is not None:
        try:
            certificate = settings.qdrant_ca.read_bytes()
            secured = {
                "verify": ssl.create_default_context(cafile=settings.qdrant_ca),
                "grpc_options": {"root_certificates": certificate},
            }
        except OSError as error:
            raise BadInputError(
                f"MOON_QDRANT_CA: {settings.qdrant_ca} cannot be used ({error}); name a PEM file of certificates"
            ) from error
    return QdrantClient(
        url=settings.qdrant_url,
        grpc_port=settings.qdrant_grpc_port or 6334,
        prefer_grpc=settings.qdrant_grpc_port is not None,
        api_key=settings.qdrant_api_key,
        timeout=TIMEOUT_SECONDS,
        check_compatibility=False,
        **secured,
    )


@contextmanager
def server_errors() -> Iterator[None]:
    """Turn the client's errors into one that says what to do."""
    try:
        yield
    except (ApiException, QdrantException, grpc.RpcError) as error:
        raise IndexUnavailableError(
            f"the Qdrant server failed or did not answer ({_reason(error)}); check that it runs at MOON_QDRANT_URL and "
            "that MOON_QDRANT_API_KEY, MOON_QDRANT_CA and MOON_QDRANT_GRPC_PORT are right"
        ) from error


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed once the server is up again or less busy."""
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _TRANSIENT_STATUS
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError)
    if isinstance(error, grpc.Call):
        return error.code() in _TRANSIENT_CODES
    return isinstance(error, ResourceExhaustedResponse)


patiently = retry(
    retry=retry_if_exception(is_transient),
    wait=wait_random_exponential(multiplier=1, max=30),
    stop=stop_after_delay(PATIENCE_SECONDS),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)
"""Decorates what may be asked again of a server that is restarted meanwhile. Searches have no such time."""


def _reason(error: Exception) -> str:
    return str(error.details()) if isinstance(error, grpc.Call) else str(error) or type(error).__name__
