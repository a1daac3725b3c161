"""Parts of a large build, each made by a process of its own while the next ones are read.

A part's products and vectors are laid down in files, and ``python -m app.store.edge_parts FOLDER`` makes a shard of
them. Its segments are folders that do not depend on the shard around them, so in the end those of all parts are moved
into the build's one shard.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import numpy as np

from app.errors import IndexUnavailableError
from app.schema import Product
from app.store.base import Manifest, Point
from app.store.edge_shard import empty_shard, optimize, settle, upsert
from app.store.files import sync_folder

PROCESSES = 4
"""So many parts at most are made at a time, one per core: each needs memory of its own (our decision)."""
ROWS = 256
"""Points that are given to the engine together."""

_MANIFEST, _PRODUCTS, _VECTORS = "manifest.json", "products.jsonl", "vectors.f32"
_SHARD, _ERRORS = "shard", "errors.txt"


class Parts:
    """Makes a shard of every ``size`` points, in processes that end with this one. A product must come only once."""

    def __init__(self, folder: Path, manifest: Manifest, size: int) -> None:
        self._folder = folder
        self._build = manifest.build
        self._size = size
        self._numbers = count()
        self._points = 0
        self._growing: Path | None = None
        self._made: list[Path] = []
        self._running: deque[tuple[Path, subprocess.Popen[bytes]]] = deque()
        folder.mkdir(parents=True)
        (folder / _MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")

    def add(self, points: Sequence[Point]) -> None:
        """Raises IndexUnavailableError if a part before could not be made."""
        if self._growing is None:
            self._growing = self._folder / str(next(self._numbers))
            self._growing.mkdir()
        with (self._growing / _PRODUCTS).open("ab") as products, (self._growing / _VECTORS).open("ab") as vectors:
            for point in points:
                products.write(point.product.model_dump_json(exclude_defaults=True).encode() + b"\n")
                vectors.write(point.vector.astype(np.float32).tobytes())
        self._points += len(points)
        if self._points >= self._size:
            self._start()

    def move_into(self, shard: Path) -> None:
        """Wait for all parts and make them parts of a closed shard. Raises IndexUnavailableError if one failed."""
        self._start()
        while self._running:
            self._wait()
        for part in self._made:
            for segment in (part / _SHARD / "segments").iterdir():
                if any(segment.glob("*id_tracker.mappings")):  # a segment without holds no points
                    segment.rename(shard / "segments" / segment.name)
        sync_folder(shard / "segments")
        shutil.rmtree(self._folder)

    def stop(self) -> None:
        """End the processes that still run."""
        for _, process in self._running:
            process.kill()
            process.wait()

    def _start(self) -> None:
        if self._growing is None:
            return
        while len(self._running) >= min(PROCESSES, os.cpu_count() or 1):
            self._wait()
        command = [sys.executable, "-P", "-m", __spec__.name, str(self._growing)]
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        with (self._growing / _ERRORS).open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stderr=errors, env={**os.environ, "PYTHONPATH": paths}
            )
        self._running.append((self._growing, process))
        self._growing, self._points = None, 0

    def _wait(self) -> None:
        part, process = self._running[0]
        if status := process.wait():
            said = (part / _ERRORS).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = said[-1] if said else f"its process was ended by signal {-status}; is there enough memory?"
            raise IndexUnavailableError(
                f"part {part.name} of build {self._build} could not be made: {reason}. "
                "The published build stays; run `indexer rebuild` again"
            )
        self._made.append(part)
        self._running.popleft()


def make(folder: Path) -> None:
    """Make the shard of one part; stops when the process that asked for it is gone."""
    asked_by = os.getppid()
    manifest = Manifest.model_validate_json((folder.parent / _MANIFEST).read_text(encoding="utf-8"))
    shard = empty_shard(folder / _SHARD, manifest)
    for points in _points(folder, manifest.dimensions):
        if os.getppid() != asked_by:
            sys.exit("nobody waits for this part any more")
        upsert(shard, points, manifest.mean_words)
    optimize(shard)
    shard.close()
    settle(folder / _SHARD)
    for done in (_PRODUCTS, _VECTORS):
        (folder / done).unlink()


def _points(folder: Path, dimensions: int) -> Iterator[list[Point]]:
    vectors = np.memmap(folder / _VECTORS, np.float32, "r").reshape(-1, dimensions)
    with (folder / _PRODUCTS).open("rb") as lines:
        products = map(Product.model_validate_json, lines)
        points = (Point(product, vector) for product, vector in zip(products, vectors, strict=True))
        while batch := list(islice(points, ROWS)):
            yield batch


if __name__ == "__main__":
    make(Path(sys.argv[1]))
