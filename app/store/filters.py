"""Filters in terms of payload keys, the same for both engines, each of which spells them in its own classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import BadInputError, CatalogError
from app.schema import CATEGORY_SEPARATOR, Filters
from app.store.base import Manifest

CATEGORY = "category"
"""The facet key that stands for every category level."""

NO_ATTRIBUTE = "the index has no attribute {key} to filter by; it has: {listed}"
NO_NUMBER = "the index has no number {key} to filter by; it has: {listed}"

_CATEGORY_PATH = "categories"


@dataclass(frozen=True)
class AnyOf:
    """The payload value at ``path`` (or one of them) equals one of ``values``."""

    path: str
    values: list[str]


@dataclass(frozen=True)
class Between:
    """The number at ``path`` lies in the closed interval; None is an open side."""

    path: str
    minimum: float | None
    maximum: float | None


Condition = AnyOf | Between


def keyword_paths(manifest: Manifest) -> list[str]:
    """Payload paths that need a keyword index."""
    return [_CATEGORY_PATH, *(_path("attributes", key) for key in manifest.attribute_keys)]


def number_paths(manifest: Manifest) -> list[str]:
    """Payload paths that need a number index."""
    return [_path("numbers", key) for key in manifest.number_keys]


def facet_path(key: str, manifest: Manifest) -> str:
    """Payload path of a facet. Raises BadInputError for a key that the build does not have."""
    if key == CATEGORY:
        return _CATEGORY_PATH
    _check_known(key, manifest.attribute_keys, NO_ATTRIBUTE)
    return _path("attributes", key)


def conditions(filters: Filters, manifest: Manifest) -> list[Condition]:
    """What every hit has to fulfil; a key without values or limits asks for nothing.

    Raises BadInputError for a key that the build does not have and for a limit that is not finite.
    """
    wanted: list[Condition] = []
    if filters.category:
        wanted.append(AnyOf(_CATEGORY_PATH, [CATEGORY_SEPARATOR.join(filters.category)]))
    for key, values in filters.attributes.items():
        _check_known(key, manifest.attribute_keys, NO_ATTRIBUTE)
        if values:
            wanted.append(AnyOf(_path("attributes", key), values))
    for key, limits in filters.ranges.items():
        _check_known(key, manifest.number_keys, NO_NUMBER)
        sides = [side for side in (limits.min, limits.max) if side is not None]
        if not all(math.isfinite(side) for side in sides):
            raise BadInputError(
                "the limits of {key} must be finite numbers; leave a side out to keep it open", key=repr(key)
            )
        if sides:
            wanted.append(Between(_path("numbers", key), limits.min, limits.max))
    return wanted


def _check_known(key: str, known: Sequence[str], message: str) -> None:
    if key not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise BadInputError(message, key=repr(key), listed=listed)


def _path(field: str, key: str) -> str:
    """Quoted, so that dots and brackets in a key are part of it; Qdrant has no escape for the quote itself."""
    if not key or '"' in key:
        raise CatalogError(f"{field} key {key!r} is empty or has a double quote; rename it in the catalog")
    return f'{field}."{key}"'
