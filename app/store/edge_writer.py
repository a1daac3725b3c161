"""Writing one build in Qdrant Edge."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import BaseFileLock
from qdrant_edge import UpdateOperation

from app.errors import IndexUnavailableError
from app.store.base import Manifest, Point
from app.store.edge_parts import Parts
from app.store.edge_shard import GROWING, copied_shard, empty_shard, optimize, settle, upsert
from app.store.files import sync_folder, write_durably
from app.store.points import check_final, check_points, point_id


class EdgeWriter:
    """Loads ``.unfinished-<build>/`` and renames it to ``<build>/`` when it is complete and on disk.

    A new build of more than ``GROWING`` products is loaded by other processes, part by part; any other by this one.

    The shard has no write-ahead log: a killed build is thrown away as a whole, and only the log would stop several
    processes from reading one build. Without the log a copy of a closed shard is a shard like any other.
    """

    def __init__(
        self, unfinished: Path, final: Path, manifest: Manifest, lock: BaseFileLock, base: Path | None
    ) -> None:
        """``base`` is the folder of the build that is copied, None for an empty one."""
        self._manifest = manifest
        self._lock = lock
        self._final = final
        self._folder = unfinished
        self._growing = 0
        shard = unfinished / "shard"
        self._shard = empty_shard(shard, manifest) if base is None else copied_shard(shard, manifest, base)
        in_parts = base is None and manifest.products > GROWING
        self._parts = Parts(unfinished / "parts", manifest, GROWING) if in_parts else None

    def add(self, points: Sequence[Point]) -> None:
        """Into a copy: stalls every thread of this process once in ``GROWING`` points, while a part gets its graph."""
        check_points(points, self._manifest.dimensions)
        if self._parts:
            self._parts.add(points)
            return
        upsert(self._shard, points, self._manifest.mean_words)
        self._growing += len(points)
        if self._growing >= GROWING:
            optimize(self._shard)
            self._growing = 0

    def remove(self, ids: Sequence[str]) -> None:
        if self._parts:
            raise ValueError(f"build {self._manifest.build} is made from nothing; give it what it shall hold alone")
        self._shard.update(UpdateOperation.delete_points([point_id(i) for i in ids]))

    def finish(self, manifest: Manifest) -> None:
        """Stalls every thread of this process while the HNSW index of what it loaded is built."""
        check_final(self._manifest, manifest)
        optimize(self._shard)
        self._shard.close()
        if self._parts:
            self._parts.move_into(self._folder / "shard")
        held = settle(self._folder / "shard")
        if self._parts and held != self._parts.points:
            raise IndexUnavailableError(
                f"build {manifest.build} holds {held} points instead of the {self._parts.points} of its parts; "
                "the published build stays. Look for ids that come twice, and report this if there are none"
            )
        write_durably(self._folder / "manifest.json", manifest.model_dump_json(indent=2))
        self._folder.rename(self._final)
        sync_folder(self._final.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._parts:
                self._parts.stop()
            if self._folder.exists():
                self._shard.close()
                shutil.rmtree(self._folder)
        finally:
            self._lock.release()
