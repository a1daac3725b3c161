"""A client of the HTTP API: the same questions and answers as :class:`~app.facade.MoonSearch`, without a model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from app.errors import (
    BadInputError,
    IndexUnavailableError,
    ModelError,
    MoonError,
    NotFoundError,
    OverloadedError,
    ServiceError,
)
from app.problems import Kind
from app.schema import Box, Detection, Filters, Prediction, Product, SearchResult
from app.status import Status

Photo = bytes | str | os.PathLike[str]
"""The bytes of a picture file, or its path."""

ATTEMPTS = 4
LONGEST_WAIT = 10.0
"""Seconds; a server that asks for more patience is asked again after these."""

_NO_INDEX: dict[str, type[MoonError]] = {
    Kind.NO_INDEX.type: IndexUnavailableError,
    Kind.OTHER_MODEL.type: ModelError,
}

Answer = TypeVar("Answer", bound=BaseModel)


class Client:
    """Asks the server at ``url``; one client serves many threads and keeps its connections.

    >>> shop = Client("http://127.0.0.1:7860")
    >>> hits = shop.search("red armchair").hits

    A server that is busy or not ready yet (429, 503) is asked ATTEMPTS times, as its ``Retry-After`` says. Every method
    raises BadInputError for what cannot be used, NotFoundError for an unknown product, and of a server that cannot
    answer after that IndexUnavailableError if it has no index, ModelError if that is of another model, and else
    OverloadedError. One that refuses, fails, does not answer within ``timeout`` seconds or cannot be reached is a
    ServiceError.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._url = url
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1/",
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            transport=transport,
        )

    def search(
        self,
        text: str = "",
        photo: Photo | None = None,
        *,
        box: Box | None = None,
        filters: Filters | None = None,
        limit: int = 24,
        offset: int = 0,
        facets: bool = True,
        text_weight: float = 0.5,
        sort: str = "match",
        group: bool = False,
    ) -> SearchResult:
        """As :meth:`app.facade.MoonSearch.search`."""
        query = {
            "text": text,
            "box": box,
            "filters": (filters or Filters()).model_dump(),
            "limit": limit,
            "offset": offset,
            "facets": facets,
            "weights": {"photo": 1 - text_weight, "text": text_weight},
            "sort": sort,
            "group": group,
        }
        return self._post("search", query, SearchResult, photo)

    def similar(self, product_id: str, limit: int = 12, category: Sequence[str] = ()) -> SearchResult:
        """Products like an indexed one, without the variants of its own group."""
        return self._get(f"similar/{quote(product_id, safe='')}", SearchResult, limit=limit, category=list(category))

    def recommend(
        self, liked: Sequence[str], disliked: Sequence[str] = (), *, filters: Filters | None = None, limit: int = 12
    ) -> SearchResult:
        """Products near to the liked ones and away from the disliked, none of their groups."""
        taste = {"liked": list(liked), "disliked": list(disliked), "limit": limit}
        return self._post("recommend", taste | {"filters": (filters or Filters()).model_dump()}, SearchResult)

    def product(self, product_id: str) -> Product:
        """An indexed product."""
        return self._get(f"products/{quote(product_id, safe='')}", Product)

    def predict(
        self, title: str = "", photo: Photo | None = None, *, box: Box | None = None, limit: int = 10
    ) -> Prediction:
        """Category and attributes of a product from its title, photo or both."""
        return self._post("predict", {"title": title, "box": box, "limit": limit}, Prediction, photo)

    def detect(self, photo: Photo) -> Detection:
        """The products in a photo, any of whose boxes can be searched with."""
        return self._post("detect", {}, Detection, photo)

    def status(self) -> Status:
        """What the server serves, and whether it is ready to."""
        return self._get("status", Status)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _get(self, path: str, kind: type[Answer], **parameters: Any) -> Answer:
        return self._ask(kind, "GET", path, params=parameters)

    def _post(self, path: str, query: dict[str, Any], kind: type[Answer], photo: Photo | None = None) -> Answer:
        if photo is None:
            return self._ask(kind, "POST", path, json=query)
        return self._ask(kind, "POST", path, data={"query": json.dumps(query)}, files={"image": _bytes_of(photo)})

    def _ask(self, kind: type[Answer], method: str, path: str, **parts: Any) -> Answer:
        patiently = Retrying(
            retry=retry_if_exception_type((OverloadedError, *_NO_INDEX.values())),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_as_told,
            reraise=True,
        )
        response = patiently(self._request, method, path, **parts)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise ServiceError(
                f"the answer of {self._url} to {path} is not understood ({error.error_count()} problems); "
                "is it MOON Search, and of this version?"
            ) from error

    def _request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise ServiceError(f"{self._url} does not answer ({error}); check the address and the server") from error
        if not response.is_success:
            raise _error_of(response)
        return response


def _error_of(response: httpx.Response) -> MoonError:
    """The error that the server's problem stands for."""
    try:
        problem = response.json()
        kind, detail = str(problem.get("type")), str(problem["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):  # something between here and the server answered
        kind, detail = "", f"{response.url.host} answered {response.status_code} {response.reason_phrase}"
    if kind in _NO_INDEX:
        return _NO_INDEX[kind](detail)
    if response.status_code in (429, 503):
        return OverloadedError(detail, _seconds(response.headers.get("Retry-After", "")))
    if response.status_code == 404:
        return NotFoundError(detail)
    if response.status_code in (400, 413, 415, 422):
        return BadInputError(detail)
    return ServiceError(detail)


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() else 1.0


def _as_told(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return min(error.retry_after, LONGEST_WAIT) if isinstance(error, OverloadedError) else 1.0


def _bytes_of(photo: Photo) -> bytes:
    if isinstance(photo, bytes):
        return photo
    try:
        return Path(photo).read_bytes()
    except OSError as error:
        raise BadInputError(f"{photo}: the photo cannot be read ({error.strerror}); correct its path") from error
