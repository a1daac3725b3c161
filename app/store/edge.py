"""Builds in Qdrant Edge, the engine of the Qdrant server inside this process.

A build is a directory ``builds/<build>/`` with ``shard/`` and ``manifest.json``; it gets that name when it is complete.
The file ``builds/CURRENT`` names the published one. See docs/store.md.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from app.errors import BadInputError, IndexUnavailableError, NotFoundError, disk_errors
from app.store.base import BuildWriter, Index, Manifest
from app.store.edge_index import EdgeIndex
from app.store.edge_writer import EdgeWriter
from app.store.files import bytes_on_disk, write_durably
from app.store.points import (
    build_before,
    check_build_id,
    check_copy,
    newest_first,
    parse_manifest,
    published_manifest,
)

log = logging.getLogger(__name__)

_UNFINISHED = ".unfinished-"
_DROPPED = ".dropped-"


class EdgeStore:
    """The builds below ``folder``; one process may write at a time, any number may read."""

    copies = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @disk_errors()
    def create(self, manifest: Manifest, base: str | None = None) -> BuildWriter:
        """Start a new build. Raises IndexUnavailableError while another process builds in the same folder."""
        if base is not None:
            check_copy(self._finished(base), manifest)
        check_build_id(manifest.build)
        final = self._folder / manifest.build
        if final.exists():
            raise BadInputError(f"build {manifest.build} exists already; give the new build another id")
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / ".lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise IndexUnavailableError(
                f"another rebuild is writing to {self._folder}; wait until it ends, or set MOON_DATA to another folder"
            ) from None
        with ExitStack() as on_failure:
            on_failure.callback(lock.release)
            self._remove_leftovers()
            unfinished = self._folder / f"{_UNFINISHED}{manifest.build}"
            copied = None if base is None else self._folder / base
            writer = EdgeWriter(unfinished, final, manifest, lock, copied)
            on_failure.pop_all()
        return writer

    @disk_errors()
    def open(self, build: str) -> Index:
        manifest = self._finished(build)
        try:
            return EdgeIndex(self._folder / build / "shard", manifest)
        except Exception as error:  # the engine has no error class of its own
            raise IndexUnavailableError(
                f"build {build} cannot be opened ({error}); run `indexer rebuild CATALOG` or `indexer rollback`"
            ) from error

    @disk_errors()
    def publish(self, build: str) -> None:
        if (changed := published_manifest(self._finished(build))) is not None:
            write_durably(self._folder / build / "manifest.json", changed)
        write_durably(self._folder / "CURRENT", build)

    @disk_errors()
    def published(self) -> str | None:
        try:
            return (self._folder / "CURRENT").read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    @disk_errors()
    def builds(self) -> list[Manifest]:
        found = {}
        for file in self._folder.glob("*/manifest.json"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                found[file.parent.name] = file.read_bytes()
        return newest_first(found)

    def rollback(self) -> str:
        build = build_before(self.published(), self.builds())
        self.publish(build)
        return build

    @disk_errors()
    def drop(self, build: str) -> None:
        """Delete a build. A process that has it open goes on reading; remains are deleted by the next create."""
        check_build_id(build)
        if build == self.published():
            raise BadInputError(f"build {build} is published; publish or roll back to another build before deleting it")
        dropped = self._folder / f"{_DROPPED}{build}"
        try:
            (self._folder / build).rename(dropped)
        except FileNotFoundError:
            raise NotFoundError(f"there is no build {build}; `indexer status` lists the builds") from None
        shutil.rmtree(dropped, ignore_errors=True)

    @disk_errors()
    def disk_bytes(self, build: str) -> int | None:
        return bytes_on_disk(self._folder / build)

    def _finished(self, build: str) -> Manifest:
        check_build_id(build)
        try:
            text = (self._folder / build / "manifest.json").read_bytes()
        except FileNotFoundError:
            raise IndexUnavailableError(
                f"there is no finished build {build} in {self._folder}; `indexer status` lists the builds, "
                "`indexer rebuild CATALOG` makes one"
            ) from None
        return parse_manifest(text, build)

    def _remove_leftovers(self) -> None:
        """What killed writers and deletions left behind; the writer's lock makes sure that no reader needs it.

        A process that makes a part for a killed writer may still run: without the folder's name it fails.
        """
        for leftover in self._folder.glob(f"{_UNFINISHED}*"):
            log.info("removing the unfinished build %s", leftover.name.removeprefix(_UNFINISHED))
            leftover.rename(self._folder / f"{_DROPPED}{leftover.name}")
        for dropped in self._folder.glob(f"{_DROPPED}*"):
            shutil.rmtree(dropped, ignore_errors=True)
            if dropped.exists():
                log.warning("%s could not be deleted; delete it to have its room back", dropped)
