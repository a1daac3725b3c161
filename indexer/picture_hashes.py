"""Hashes of picture files, remembered with what the file system says of them, so that unchanged files are not read."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from app.picture_files import Stamp

log = logging.getLogger(__name__)

MAX_FILES = 20_000_000
"""Beyond so many files, about 3 GB, those that were read first are forgotten (our decision)."""
SETTLED_SECONDS = 2.0
"""A file that changed less than this before it was read may change again without a new time, as clocks are coarse."""
WRITE_AT_ONCE = 1000
BUSY_SECONDS = 60.0

_TABLE = """create table if not exists hashes
    (name blob primary key, size integer, changed integer, touched integer, digest text not null)"""
_FIND = "select digest from hashes where name = ? and size = ? and changed = ? and touched = ?"
_KEEP = "insert or replace into hashes values (?, ?, ?, ?, ?)"
_FORGET = "delete from hashes where rowid <= (select max(rowid) from hashes) - ?"


class PictureHashes:
    """SHA-256 of files by their location and :data:`~app.picture_files.Stamp`, for threads and several processes.

    It only saves time: what cannot be kept is read again, and a damaged file is begun anew.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._new: dict[bytes, tuple[bytes, int, int, int, str]] = {}
        self._database: sqlite3.Connection | None = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=BUSY_SECONDS, check_same_thread=False)
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = normal")
            self._database.execute(_TABLE)
        except sqlite3.Error as error:
            self._give_up(error)

    def get(self, location: str, stamp: Stamp) -> str | None:
        """The hash of a file that is still as it was when it was read, None if it has to be read."""
        name = _name(location)
        with self._lock:
            try:
                found = self._database.execute(_FIND, (name, *stamp)).fetchone() if self._database else None
            except sqlite3.Error as error:
                self._give_up(error)
                return None
        return found[0] if found else None

    def put(self, location: str, stamp: Stamp, digest: str) -> None:
        """Remember the hash of a file; ``stamp`` was taken before it was read."""
        if time.time() - max(stamp.changed, stamp.touched) / 1e9 < SETTLED_SECONDS:
            return
        name = _name(location)
        with self._lock:
            self._new[name] = (name, *stamp, digest)
            if len(self._new) >= WRITE_AT_ONCE:
                self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._write()
            if self._database:
                self._database.close()

    def _write(self) -> None:
        try:
            if self._database and self._new:
                with self._database:
                    self._database.executemany(_KEEP, self._new.values())
                    self._database.execute(_FORGET, (MAX_FILES,))
        except sqlite3.Error as error:
            self._give_up(error)
        self._new.clear()

    def _give_up(self, error: sqlite3.Error) -> None:
        log.warning("%s: hashes of pictures are not remembered in this run (%s)", self._file, error)
        if self._database:
            self._database.close()
            self._database = None
        if not isinstance(error, sqlite3.OperationalError):  # damaged, and not merely locked or without room
            for file in self._file.parent.glob(f"{self._file.name}*"):
                file.unlink()


def _name(location: str) -> bytes:
    return hashlib.blake2b(location.encode(), digest_size=16).digest()
