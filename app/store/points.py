"""What both engines store: point ids, checked vectors, checked manifests."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from app.errors import IndexUnavailableError, NotFoundError
from app.store.base import MANIFEST_VERSION, Manifest, Point

log = logging.getLogger(__name__)

T = TypeVar("T")

_NAMESPACE = uuid.UUID("5f0d3a5c-9d0e-5b0c-8a44-6d6f6f6e0001")
_BUILD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def point_id(product_id: str) -> str:
    """The same UUID for the same product id, always: Qdrant takes no other strings as ids."""
    return str(uuid.uuid5(_NAMESPACE, product_id))


def check_vector(vector: NDArray[np.float32], dimensions: int, owner: str) -> None:
    """Raise ValueError naming ``owner`` unless ``vector`` has shape (dimensions,), is finite and not zero.

    Qdrant accepts NaN silently and then ranks such a point anywhere.
    """
    if vector.shape != (dimensions,):
        raise ValueError(f"the vector of {owner} has shape {vector.shape}, the index needs ({dimensions},)")
    if not np.isfinite(vector).all():
        raise ValueError(f"the vector of {owner} has NaN or infinite values; check its pictures and the model")
    if not vector.any():
        raise ValueError(f"the vector of {owner} is all zero, it has no direction; check its pictures and the model")


def check_points(points: Sequence[Point], dimensions: int) -> None:
    """Raise ValueError naming the first product that cannot be stored and found again."""
    for point in points:
        owner = f"product {point.product.id!r}"
        check_vector(point.vector, dimensions, owner)
        for key, number in point.product.numbers.items():
            if not isfinite(number):
                raise ValueError(f"{owner} has {key} = {number}; give a finite number or leave it out")


def in_order(ids: Sequence[str], points: Sequence[str], found: Mapping[str, T]) -> list[T]:
    """Values of ``found`` at the ``points`` of these product ids. Raises NotFoundError naming the unknown ids."""
    unknown = [product_id for product_id, point in zip(ids, points, strict=True) if point not in found]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise NotFoundError("the index has no product {listed}; check the id or rebuild the index", listed=listed)
    return [found[point] for point in points]


def check_build_id(build: str) -> None:
    """Raise NotFoundError for an id that no build can have: it names a directory and a collection."""
    if not _BUILD_ID.fullmatch(build):
        raise NotFoundError(f"{build!r} is not a build id; `indexer status` lists the builds")


_LAYOUT = ("dimensions", "attribute_keys", "number_keys", "mean_words")
"""What every point of a build depends on."""


def check_final(started: Manifest, final: Manifest) -> None:
    """Raise ValueError if a build is finished as something else than it was started as."""
    for name in ("build", *_LAYOUT):
        if getattr(started, name) != getattr(final, name):
            raise ValueError(f"build {started.build} was created with another {name} than it is finished with")


def check_copy(base: Manifest, manifest: Manifest) -> None:
    """Raise ValueError if a build cannot hold the points of ``base`` as they are."""
    for name in ("version", "fingerprint", *_LAYOUT):
        if getattr(base, name) != getattr(manifest, name):
            raise ValueError(
                f"build {manifest.build} has another {name} than {base.build}, of which it is to be a copy"
            )


class _Version(BaseModel):
    version: int


def parse_manifest(text: str | bytes, build: str) -> Manifest:
    """A manifest from JSON. Raises IndexUnavailableError if a newer version wrote it, or if it is damaged."""
    try:
        version = _Version.model_validate_json(text).version
        if version <= MANIFEST_VERSION:
            return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise IndexUnavailableError(
            f"the manifest of build {build} is damaged ({error.error_count()} problems); run `indexer rebuild CATALOG`"
        ) from error
    raise IndexUnavailableError(
        f"build {build} was written by a newer version (manifest {version}, this one reads up to {MANIFEST_VERSION}); "
        "update MOON Search or run `indexer rebuild CATALOG`"
    )


def newest_first(texts: Mapping[str, str | bytes]) -> list[Manifest]:
    """Parse manifests by build id; one that cannot be read is left out with a warning, another build's silently."""
    parsed = []
    for build, text in texts.items():
        try:
            manifest = parse_manifest(text, build)
        except IndexUnavailableError as error:
            log.warning("left out of the list: %s", error)
        else:
            if manifest.build == build:
                parsed.append(manifest)
    return sorted(parsed, key=lambda manifest: manifest.build, reverse=True)


def published_manifest(manifest: Manifest) -> str | None:
    """What a build's manifest has to be replaced by when it is published, as JSON; None if it can stay."""
    return manifest.model_copy(update={"on_trial": False}).model_dump_json(indent=2) if manifest.on_trial else None


def build_before(published: str | None, builds: Sequence[Manifest]) -> str:
    """The newest build older than the published one and not on trial.

    Raises IndexUnavailableError while none is published, NotFoundError if there is no such build.
    """
    if published is None:
        raise IndexUnavailableError("no index is published yet; run `indexer rebuild CATALOG`")
    older = [manifest.build for manifest in builds if manifest.build < published and not manifest.on_trial]
    if not older:
        raise NotFoundError(f"there is no finished build older than {published} to go back to; see `indexer status`")
    return older[0]
