"""Builds on a Qdrant server or cluster.

A build is a collection ``<index>-<build>`` with its manifest in the collection's metadata; the alias ``<index>`` points
at the published one. See docs/store.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from qdrant_client import QdrantClient, models

from app.errors import BadInputError, IndexUnavailableError, NotFoundError
from app.store.base import BuildWriter, Index, Manifest
from app.store.points import build_before, check_build_id, newest_first, parse_manifest, published_manifest
from app.store.server_client import patiently, server_errors
from app.store.server_index import ServerIndex
from app.store.server_writer import ServerWriter

log = logging.getLogger(__name__)

_ABANDONED_AFTER = timedelta(days=7)


class ServerStore:
    """The builds of ``index`` on the server that ``client`` talks to; any number of machines may read.

    A new build gets ``shards`` and ``replicas``, or what the server is configured to.
    """

    copies = False

    def __init__(
        self, client: QdrantClient, index: str, shards: int | None = None, replicas: int | None = None
    ) -> None:
        self._client = client
        self._index = index
        self._shards = shards
        self._replicas = replicas

    @server_errors()
    def create(self, manifest: Manifest, base: str | None = None) -> BuildWriter:
        """Start a new build. Raises ValueError for a ``base``: a server has no request that copies a collection."""
        if base is not None:
            raise ValueError(f"build {manifest.build} cannot start as a copy of {base} on a Qdrant server")
        check_build_id(manifest.build)
        names = self._collections()
        if self._index in names:
            raise BadInputError(
                f"the Qdrant server has a collection named {self._index!r}, so no alias can have that name; "
                "set MOON_COLLECTION to another name or rename the collection"
            )
        if self._collection(manifest.build) in names:
            raise BadInputError(f"build {manifest.build} exists already; give the new build another id")
        self._remove_leftovers(names)
        return ServerWriter(self._client, self._collection(manifest.build), manifest, self._shards, self._replicas)

    @server_errors()
    def open(self, build: str) -> Index:
        return ServerIndex(self._client, self._collection(build), self._finished(build))

    @server_errors()
    @patiently
    def publish(self, build: str) -> None:
        if (changed := published_manifest(self._finished(build))) is not None:
            self._client.update_collection(self._collection(build), metadata={"manifest": changed})
        actions: list[models.AliasOperations] = []
        if self._alias_target() is not None:
            actions.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._index)))
        target = models.CreateAlias(collection_name=self._collection(build), alias_name=self._index)
        actions.append(models.CreateAliasOperation(create_alias=target))
        self._client.update_collection_aliases(actions)

    @server_errors()
    def published(self) -> str | None:
        return self._alias_target()

    @server_errors()
    def builds(self) -> list[Manifest]:
        found = {}
        for name in self._own(self._collections()):
            text = self._metadata(name).get("manifest")
            if text is not None:
                found[name.removeprefix(self._collection(""))] = text
        return newest_first(found)

    def disk_bytes(self, build: str) -> int | None:
        return None

    def rollback(self) -> str:
        build = build_before(self.published(), self.builds())
        self.publish(build)
        return build

    @server_errors()
    def drop(self, build: str) -> None:
        check_build_id(build)
        if build == self.published():
            raise BadInputError(f"build {build} is published; publish or roll back to another build before deleting it")
        if self._collection(build) not in self._collections():
            raise NotFoundError(f"there is no build {build}; `indexer status` lists the builds")
        self._client.delete_collection(self._collection(build))

    def _alias_target(self) -> str | None:
        for alias in self._client.get_aliases().aliases:
            if alias.alias_name == self._index:
                return alias.collection_name.removeprefix(self._collection(""))
        return None

    def _collection(self, build: str) -> str:
        return f"{self._index}-{build}"

    def _collections(self) -> list[str]:
        return [collection.name for collection in self._client.get_collections().collections]

    def _own(self, collections: Sequence[str]) -> list[str]:
        return [name for name in collections if name.startswith(self._collection(""))]

    def _metadata(self, collection: str) -> dict[str, Any]:
        return self._client.get_collection(collection).config.metadata or {}

    def _finished(self, build: str) -> Manifest:
        check_build_id(build)
        collection = self._collection(build)
        text = self._metadata(collection).get("manifest") if collection in self._collections() else None
        if text is None:
            raise IndexUnavailableError(
                f"the Qdrant server has no finished build {build} of {self._index}; `indexer status` lists the "
                "builds, `indexer rebuild CATALOG` makes one"
            )
        return parse_manifest(text, build)

    def _remove_leftovers(self, collections: Sequence[str]) -> None:
        """What writers that were killed long ago left behind; a younger one may still be loading on another machine."""
        for name in self._own(collections):
            metadata = self._metadata(name)
            started = None if "manifest" in metadata else metadata.get("started")
            if started is not None and datetime.now(UTC) - datetime.fromisoformat(started) > _ABANDONED_AFTER:
                log.info("removing the unfinished collection %s, started %s", name, started)
                self._client.delete_collection(name)
