"""The online path of MOON Search: model, vector store, search, prediction and the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.facade import MoonSearch

__all__ = ["MoonSearch"]


def __getattr__(name: str) -> Any:
    """Import MoonSearch when it is first asked for, so that the commands start quickly."""
    if name == "MoonSearch":
        from app.facade import MoonSearch

        return MoonSearch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
