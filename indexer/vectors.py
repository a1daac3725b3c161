"""The vectors of one model on disk (``vectors/<fingerprint>/part-*.parquet``), from which every build is derived.

A part holds the columns ``content`` (hash of what the vector was made of), ``vector`` (unit length) and ``broken`` (the
pictures of the product that could not be decoded, by hash, with the reason). Parts are written once, under a temporary
name that is synced and then renamed: a crash costs at most the part that was being written.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from app.encoder import Vectors
from app.errors import ModelError

log = logging.getLogger(__name__)

MERGE_ABOVE_PARTS = 16
MERGED_ROWS = 50_000

Broken = Mapping[str, str]
"""Reasons why pictures could not be decoded, by the hash of their bytes."""

_BROKEN = pl.List(pl.Struct({"picture": pl.String, "reason": pl.String}))

_DAMAGE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)


class VectorArchive:
    """Known vectors by content hash; several processes may append at a time.

    Every part is read completely at the start; damaged ones are set aside as ``*.damaged``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[str] = set()
        self._broken: dict[str, Broken] = {}
        self._dimensions = 0
        self.damaged: list[Path] = []
        self._read: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read the parts that others have written."""
        for part in sorted(self._folder.glob("part-*.parquet")):
            if part.name in self._read:
                continue
            try:
                self._remember(_read(part))
                self._read.add(part.name)
            except _DAMAGE as error:
                self._set_aside(part, error)

    def remove_leftovers(self) -> None:
        """Delete parts that killed writers began; no other process may be writing."""
        for leftover in self._folder.glob("*.tmp"):
            leftover.unlink()

    @property
    def dimensions(self) -> int:
        """Length of the vectors, 0 while there are none."""
        return self._dimensions

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, content: object) -> bool:
        return content in self._known

    def broken(self, content: str) -> Broken:
        """The pictures behind a known vector that could not be decoded when it was made."""
        return self._broken.get(content, {})

    def append(self, contents: Sequence[str], vectors: Vectors, broken: Sequence[Broken]) -> None:
        """Write a part durably: unit vectors of shape (contents, dimensions), one set of broken pictures each."""
        pairs = [[{"picture": picture, "reason": why} for picture, why in item.items()] for item in broken]
        none = pl.Series([[]], dtype=_BROKEN)
        column = pl.Series(pairs, dtype=_BROKEN) if any(pairs) else none.new_from_index(0, len(pairs))
        table = pl.DataFrame(
            {"content": list(contents), "vector": np.asarray(vectors, dtype=np.float32), "broken": column}
        )
        _check(table)
        self._write(table)
        self._remember(table)

    def batches(self) -> Iterator[tuple[list[str], Vectors]]:
        """All contents with their vectors, part by part; a content may come twice."""
        for part in sorted(self._folder.glob("part-*.parquet")):
            table = _read(part)
            yield table["content"].to_list(), table["vector"].to_numpy()

    def merge_parts(self) -> None:
        """Turn many small parts into few large ones; a crash in between leaves vectors twice, which does no harm."""
        sizes = {part: _rows(part) for part in sorted(self._folder.glob("part-*.parquet"))}
        small = [part for part, rows in sizes.items() if rows < MERGED_ROWS // 2]
        if len(small) <= MERGE_ABOVE_PARTS:
            return
        group: list[Path] = []
        for part in small:
            group.append(part)
            if part is small[-1] or sum(sizes[member] for member in group) >= MERGED_ROWS:
                self._write(pl.concat([_read(member) for member in group]).unique("content", maintain_order=True))
                for member in group:
                    member.unlink()
                group = []

    def _remember(self, table: pl.DataFrame) -> None:
        width = table["vector"].dtype.shape[0]  # type: ignore[attr-defined]
        if self._dimensions not in (0, width):
            raise ValueError(f"vectors of length {width} among vectors of length {self._dimensions}")
        self._dimensions = width
        self._known.update(table["content"])
        for content, pairs in table.filter(pl.col("broken").list.len() > 0).select("content", "broken").iter_rows():
            self._broken[content] = {pair["picture"]: pair["reason"] for pair in pairs}

    def _set_aside(self, part: Path, error: BaseException) -> None:
        aside = part.with_suffix(".damaged")
        part.rename(aside)
        self.damaged.append(aside)
        log.warning("%s is damaged (%s); set aside as %s, its products are embedded again", part, error, aside.name)

    def _write(self, table: pl.DataFrame) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"part-{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
        temporary = self._folder / f"{name}.tmp"
        with temporary.open("wb") as stream:
            table.write_parquet(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._folder / name)
        self._read.add(name)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_vectors(vectors: Vectors, rows: int, dimensions: int) -> None:
    """Raise ModelError unless a model returned an array of shape (rows, dimensions)."""
    if vectors.shape != (rows, dimensions):
        raise ModelError(
            f"the model returned vectors of shape {vectors.shape} instead of ({rows}, {dimensions}); "
            "check the checkpoint that MOON_MODEL names"
        )


def unusable(vectors: Vectors) -> np.ndarray:
    """Which rows are not finite or not of unit length, shape (rows,)."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return ~(np.abs(lengths - 1.0) < 1e-3)


def _read(part: Path) -> pl.DataFrame:
    table = pl.read_parquet(part, glob=False)
    _check(table)
    return table


def _check(table: pl.DataFrame) -> None:
    if table.columns != ["content", "vector", "broken"] or not isinstance(table["vector"].dtype, pl.Array):
        raise ValueError("not a table of vectors")
    if unusable(table["vector"].to_numpy()).any():
        raise ValueError("vectors that are not of unit length")


def _rows(part: Path) -> int:
    return pl.scan_parquet(part, glob=False).select(pl.len()).collect().item()
