"""What was made of every product, kept by its content: a killed run goes on, and what is known is not made again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from app.errors import CatalogError
from app.schema import Box

FILE = "kept.sqlite"
VERSION = 2
"""Of the tables; a file of another one is not read."""
Vector = NDArray[np.float16]
Room = tuple[str, str]
"""A photo's location, and the hash of its file."""

_TABLES = """
CREATE TABLE IF NOT EXISTS products (source TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS candidates (
    source TEXT, place INTEGER, kind TEXT, what TEXT, picture INTEGER, box TEXT, room TEXT,
    reason TEXT, vector BLOB, score REAL, category_score REAL, PRIMARY KEY (source, place)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Candidate:
    """An enriched title, or an expanded picture's path below the folder, of a product; or the ``reason`` for none.

    ``picture`` is the place among the product's pictures of the one that it was made of, which stays when they move;
    ``box`` its core product's box where that is known, ``room`` the photo that the product was put into. ``score`` and
    ``category_score`` are cosines with the product and its category, None without a vector or a category.
    """

    kind: str
    what: str = ""
    picture: int | None = None
    box: Box | None = None
    room: Room | None = None
    reason: str = ""
    vector: Vector | None = None
    score: float | None = None
    category_score: float | None = None


@dataclass(frozen=True)
class Kept:
    """A product by the hash of its content, its vector (None without words and pictures) and what was made of it."""

    source: str
    vector: Vector | None
    candidates: tuple[Candidate, ...]


class KeptProducts:
    """Products below ``folder``, one transaction per batch; whatever ends a process costs the batch it was at.

    Use it as a context manager. Raises CatalogError if another run is at the folder, or the file is no such store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / "lock", timeout=0)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise CatalogError(f"{self._folder}: another run adds to it; wait for it to end") from None
        try:
            self._database = sqlite3.connect(self._folder / FILE)
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._lock.release()
            raise CatalogError(f"{self._folder / FILE}: {error}; remove it, and what it kept is made again") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._lock.release()

    def _prepare(self) -> None:
        """Make the tables of a new file. Raises sqlite3.DatabaseError if it is no such file, or of another version."""
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and version != VERSION:
            raise sqlite3.DatabaseError("it is of another version of the trainer")
        self._database.executescript(f"{_TABLES} PRAGMA user_version = {VERSION};")

    def unknown(self, sources: Sequence[str]) -> list[str]:
        """Those that are not kept yet, each once."""
        wanted = f"SELECT source FROM products WHERE source IN ({_marks(len(sources))})"  # noqa: S608
        rows = self._database.execute(wanted, sources)
        known = {source for (source,) in rows}
        return [source for source in dict.fromkeys(sources) if source not in known]

    def add(self, products: Iterable[Kept]) -> None:
        """Keep all of these products, or none if the process ends meanwhile."""
        with self._database:
            for product in products:
                self._database.execute("INSERT INTO products VALUES (?, ?)", (product.source, _bytes(product.vector)))
                rows = (_row(product.source, place, one) for place, one in enumerate(product.candidates))
                self._database.executemany(f"INSERT INTO candidates VALUES ({_marks(11)})", rows)  # noqa: S608

    def product(self, source: str) -> Kept:
        """A product that was added."""
        (vector,) = self._database.execute("SELECT vector FROM products WHERE source = ?", (source,)).fetchone()
        rows = self._database.execute("SELECT * FROM candidates WHERE source = ? ORDER BY place", (source,))
        return Kept(source, _vector(vector), tuple(_candidate(row[2:]) for row in rows))


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _row(source: str, place: int, one: Candidate) -> tuple:
    told = (one.kind, one.what, one.picture, json.dumps(one.box), json.dumps(one.room), one.reason)
    return source, place, *told, _bytes(one.vector), one.score, one.category_score


def _candidate(row: Sequence) -> Candidate:
    kind, what, picture, box, room, reason, vector, score, category_score = row
    sides, photo = (tuple(found) if (found := json.loads(stored)) else None for stored in (box, room))
    return Candidate(kind, what, picture, sides, photo, reason, _vector(vector), score, category_score)


def _bytes(vector: Vector | None) -> bytes | None:
    return None if vector is None else vector.astype(np.float16).tobytes()


def _vector(stored: bytes | None) -> Vector | None:
    return None if stored is None else np.frombuffer(stored, dtype=np.float16)
