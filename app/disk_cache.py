"""Bytes by name on the local disk, for several processes at once, within a limit."""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

CHECK_SHARE = 0.05
"""A process looks at the size of all once it has written this share of the limit."""
KEPT_SHARE = 0.9


class DiskCache:
    """Files below ``folder``; what was written first goes first when they exceed ``limit`` bytes.

    Files appear complete or not at all. Between two checks every process can exceed the limit by 5 %.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._unchecked = limit

    def get(self, name: str, max_age: float | None = None) -> bytes | None:
        """What was put under a name, None if there is nothing, or only something older than ``max_age`` seconds."""
        path = self.path(name)
        try:
            is_fresh = max_age is None or time.time() - path.stat().st_mtime <= max_age
            return path.read_bytes() if is_fresh else None
        except OSError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Keep ``data``; where the disk cannot take it, only the log says so."""
        path = self.path(name)
        temporary = path.with_name(f"{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            logger.warning("%s: not kept in the cache (%s)", name, error)
            with suppress(OSError):
                temporary.unlink()
        self._unchecked += len(data)
        if self._unchecked > CHECK_SHARE * self.limit:
            self._unchecked = 0
            self._evict()

    def drop(self, name: str) -> None:
        with suppress(OSError):
            self.path(name).unlink()

    def path(self, name: str) -> Path:
        """Where a name's bytes are, if they are there."""
        digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return self.folder / digest[:2] / digest

    def _evict(self) -> None:
        """Remove the oldest files of an overfull cache, unless another process is at it."""
        try:
            with FileLock(self.folder / "lock", timeout=0):
                files = sorted(self._files())
                surplus = sum(size for _, size, _ in files)
                if surplus <= self.limit:
                    return
                surplus -= int(KEPT_SHARE * self.limit)
                for _, size, path in files:
                    if surplus <= 0:
                        break
                    Path(path).unlink(missing_ok=True)
                    surplus -= size
        except Timeout:
            return
        except OSError as error:
            logger.warning("%s: the cache cannot be cleared (%s)", self.folder, error)

    def _files(self) -> list[tuple[int, int, str]]:
        """Time of writing, size and path of every file; those that vanish meanwhile are left out."""
        found = []
        for part in self.folder.glob("[0-9a-f][0-9a-f]"):
            for entry in os.scandir(part):
                try:
                    stat = entry.stat()
                except FileNotFoundError:
                    continue
                found.append((stat.st_mtime_ns, stat.st_size, entry.path))
        return found
