"""Errors of the HTTP API as problem details (RFC 9457)."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"


class Kind(Enum):
    """What can go wrong: the status, and the title of the type. docs/api.md lists the types for those who ask.

    A URN, since it stays the same wherever the server and its documents lie (our decision).
    """

    BAD_INPUT = 400, "It cannot be used"
    BAD_REQUEST = 400, "It is not understood"
    NO_KEY = 401, "A key is missing"
    NOT_FOUND = 404, "There is no such product or picture"
    NO_ADDRESS = 404, "There is nothing at this address"
    LATE = 408, "It took too long to arrive"
    TOO_LARGE = 413, "It is too large"
    OTHER_CONTENT = 415, "Its content is of another type"
    UNFIT = 422, "Fields do not fit"
    RATE = 429, "There are too many requests from this client"
    DEFECT = 500, "The server failed"
    NO_INDEX = 503, "There is no index to search"
    OTHER_MODEL = 503, "The index is of another model"
    OVERLOADED = 503, "Too much waits for the model"
    FULL = 503, "Too many requests are in work"
    STOPPING = 503, "The server is stopping"
    UNAVAILABLE = 503, "It cannot be answered now"

    def __init__(self, status: int, title: str) -> None:
        self.status, self.title = status, title

    @property
    def type(self) -> str:
        """The URI that names it, which never changes."""
        return f"urn:moon:{self.name.lower().replace('_', '-')}"


class Problem(BaseModel):
    """What went wrong, and what to do."""

    type: str = Field(
        default="about:blank",
        description="Names the kind of problem, and stays the same; about:blank: the status says it all",
        examples=[kind.type for kind in Kind],
    )
    title: str = Field(description="The kind in words")
    status: int
    detail: str = Field(description="What happened, to which item, and what to do")


def problem_of(kind: Kind, detail: str) -> Problem:
    """A problem of this kind."""
    return Problem(type=kind.type, title=kind.title, status=kind.status, detail=detail)


def problem_of_status(status: int, detail: str) -> Problem:
    """The problem of a bare status: of the first kind that has it, else without a type, titled with its phrase."""
    kind = next((kind for kind in _OF_REQUESTS if kind.status == status), None)
    return problem_of(kind, detail) if kind else Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)


_OF_REQUESTS = (Kind.BAD_REQUEST, Kind.NO_ADDRESS, Kind.LATE, Kind.TOO_LARGE, Kind.OTHER_CONTENT)
"""What the web framework refuses by status alone."""
