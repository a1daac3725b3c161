"""The few errors of MOON Search. Each message says what happened, to which item, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MoonError(Exception):
    """Base of every error that is meant for the user's eyes.

    ``values`` stand in the braces of ``message``, which is kept as ``template``: so the page can say it in another
    language. A message without values is taken as it is, whatever braces it has.
    """

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message.format(**values) if values else message)
        self.template, self.values = message, values


class BadInputError(MoonError):
    """A query, picture or filter that cannot be used; the HTTP API answers it with status 400."""


class NotFoundError(MoonError):
    """A product or build that does not exist; the HTTP API answers it with status 404."""


class ModelError(MoonError):
    """A checkpoint that cannot be loaded or does not fit the index."""


class IndexUnavailableError(MoonError):
    """No published index, or one that this version or model cannot read."""


class OverloadedError(MoonError):
    """More requests than the server can take right now; the HTTP API answers it with status 503.

    ``retry_after`` is in seconds.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoppingError(MoonError):
    """The process ends and takes nothing more."""


class CatalogError(MoonError):
    """A catalog that cannot be read as a whole (single bad rows go to the rejects report instead)."""


class ServiceError(MoonError):
    """A server that refuses, fails, does not answer in time or cannot be reached; raised by the client only."""


def public(message: str, data: Path) -> str:
    """The message without the server's own folder ``data``, for those who only ask it."""
    return message.replace(str(data), "MOON_DATA")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn the file system's errors below MOON_DATA into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise IndexUnavailableError(
            f"{error.filename or 'the index'}: {error.strerror or error}; check that the folder MOON_DATA can be read, "
            "that the indexer may write to it, and that its disk has room"
        ) from error
