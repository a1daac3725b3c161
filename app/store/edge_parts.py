"""Parts of a large build, each made by a process of its own while the next ones are read.

A part's products and vectors are laid down in files, and ``python -m app.store.edge_parts FOLDER`` makes a shard of
them. Its segments are folders that do not depend on the shard around them, so in the end those of all parts are moved
into the build's one shard.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from app.errors import IndexUnavailableError
from app.schema import Product
from app.store.base import Manifest, Point
from app.store.edge_shard import empty_shard, optimize, settle, upsert
from app.store.files import sync_folder

log = logging.getLogger(__name__)

PROCESSES = 4
"""So many parts at most are made at a time, one per core: each needs memory of its own (our decision)."""
ROWS = 256
"""Points that are given to the engine together."""

_MANIFEST, _PRODUCTS, _VECTORS = "manifest.json", "products.jsonl", "vectors.f32"
_SHARD, _ERRORS = "shard", "errors.txt"


class Parts:
    """Makes a shard of every ``size`` points, each in a process of its own. A product must come only once."""

    def __init__(self, folder: Path, manifest: Manifest, size: int) -> None:
        self._folder = folder
        self._build = manifest.build
        self._size = size
        self._part: Path | None = None
        self._laid_down = 0
        self._running: deque[tuple[Path, subprocess.Popen[bytes]]] = deque()
        self._made: list[Path] = []
        self.points = 0
        """How many came in all."""
        folder.mkdir(parents=True)
        (folder / _MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")

    def add(self, points: Sequence[Point]) -> None:
        """Lay points down; waits while as many parts as allowed are made.

        Raises IndexUnavailableError if a part could not be made.
        """
        while points:
            room = self._size - self._laid_down
            self._lay_down(points[:room])
            points = points[room:]
            if self._laid_down == self._size:
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

    def _lay_down(self, points: Sequence[Point]) -> None:
        if self._part is None:
            self._part = self._folder / str(len(self._made) + len(self._running))
            self._part.mkdir()
        with (self._part / _PRODUCTS).open("ab") as products, (self._part / _VECTORS).open("ab") as vectors:
            for point in points:
                products.write(point.product.model_dump_json(exclude_defaults=True).encode() + b"\n")
                vectors.write(point.vector.astype(np.float32).tobytes())
        self._laid_down += len(points)
        self.points += len(points)

    def _start(self) -> None:
        if self._part is None:
            return
        while len(self._running) >= min(PROCESSES, _cores()):
            self._wait()
        command = [sys.executable, "-P", "-m", __spec__.name, str(self._part), str(os.getpid())]
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path if isinstance(path, str))
        try:
            with (self._part / _ERRORS).open("wb") as said:
                process = subprocess.Popen(  # noqa: S603
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    env={**os.environ, "PYTHONPATH": paths},
                )
        except OSError as error:
            raise self._failed(self._part, f"its process could not be started ({error})") from error
        self._running.append((self._part, process))
        self._part, self._laid_down = None, 0

    def _wait(self) -> None:
        """For the part that was started first, unless one has failed."""
        for part, process in self._running:
            self._check(part, process.poll())
        part, process = self._running[0]
        self._check(part, process.wait())
        self._made.append(part)
        self._running.popleft()

    def _check(self, part: Path, status: int | None) -> None:
        if not status:
            return
        said = (part / _ERRORS).read_text(encoding="utf-8", errors="replace").strip()
        if said:
            log.error("part %s of build %s:\n%s", part.name, self._build, said)
        if status < 0:
            reason = f"{signal.Signals(-status).name} ended its process; is there memory, and room on the disk, for it?"
        else:
            reason = said.splitlines()[-1] if said else f"its process ended with status {status} without a word"
        raise self._failed(part, reason)

    def _failed(self, part: Path, reason: str) -> IndexUnavailableError:
        return IndexUnavailableError(
            f"part {part.name} of build {self._build} could not be made: {reason} "
            "The published build stays; run `indexer rebuild` again when that is mended"
        )


def make(folder: Path, asked_by: int) -> None:
    """Make the shard of one part, unless the process that asked for it is gone."""
    manifest = Manifest.model_validate_json((folder.parent / _MANIFEST).read_text(encoding="utf-8"))
    shard = empty_shard(folder / _SHARD, manifest)
    for points in _points(folder, manifest.dimensions):
        upsert(shard, points, manifest.mean_words)
        if os.getppid() != asked_by:
            sys.exit("nobody waits for this part any more")
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


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]), int(sys.argv[2]))
    except Exception as error:  # the last line of what is said becomes the reason that the user is told
        traceback.print_exc()
        sys.exit(" ".join(f"{type(error).__name__}: {error}.".split()))
