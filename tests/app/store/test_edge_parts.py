"""Large builds on the embedded engine: parts made by processes of their own become one build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from qdrant_edge import EdgeOptimizersConfig
from store_samples import make_manifest, make_points

from app.errors import IndexUnavailableError
from app.schema import Filters
from app.store import edge_parts, edge_writer
from app.store.base import Index, Point
from app.store.edge import EdgeStore
from app.store.edge_parts import Parts

POINTS = make_points(70)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_writer, "GROWING", 20)


@pytest.fixture
def store(tmp_path: Path) -> EdgeStore:
    return EdgeStore(tmp_path)


def written(store: EdgeStore, build: str, products: int) -> Index:
    """``POINTS`` in batches of 10; whether in parts depends on ``products``."""
    manifest = make_manifest(build).model_copy(update={"products": products, "mean_words": 3.0})
    with store.create(manifest) as writer:
        for start in range(0, len(POINTS), 10):
            writer.add(POINTS[start : start + 10])
        writer.finish(manifest)
    return store.open(build)


def answers(index: Index) -> list[object]:
    """What a build says to every kind of question; floats rounded, candidates in the order of their ids."""
    filters, vector = Filters(category=["Lighting"]), POINTS[3].vector
    candidates = index.candidates(vector, POINTS[5].product.title, Filters(), depth=len(POINTS))
    return [
        index.count(Filters()),
        index.count(filters),
        [(hit.product, round(hit.score, 5)) for hit in index.search(vector, filters, limit=10)],
        sorted((found.point, round(found.similarity, 5), round(found.share, 5)) for found in candidates),
        index.facets("category", Filters()),
        index.get([point.product.id for point in POINTS]),
        index.vectors([point.product.id for point in POINTS]).round(6).tolist(),
    ]


def test_a_build_of_parts_answers_as_one_that_was_written_at_once(store: EdgeStore, tmp_path: Path):
    parts, whole = written(store, "b1", 70), written(store, "b2", 20)
    assert answers(parts) == answers(whole)
    assert len(list((tmp_path / "b1/shard/segments").iterdir())) > len(list((tmp_path / "b2/shard/segments").iterdir()))
    assert sorted(path.name for path in (tmp_path / "b1").iterdir()) == ["manifest.json", "shard"]


def test_a_copy_of_a_build_of_parts_takes_changes_in_all_of_them(store: EdgeStore):
    written(store, "b1", 70).close()
    manifest = make_manifest("b2").model_copy(update={"products": 69, "mean_words": 3.0})
    changed = [
        type(point)(point.product.model_copy(update={"title": "changed"}), POINTS[0].vector) for point in POINTS[5::20]
    ]
    with store.create(manifest, "b1") as writer:
        writer.remove([POINTS[69].product.id])
        writer.add(changed)
        writer.finish(manifest)
    index = store.open("b2")
    assert index.count(Filters()) == 69
    titles = [product.title for product in index.get([point.product.id for point in POINTS[:69]])]
    assert [place for place, title in enumerate(titles) if title == "changed"] == [5, 25, 45, 65]


def test_parts_with_graphs_bring_no_empty_segments_along(store: EdgeStore, tmp_path: Path, monkeypatch):
    class Here:
        """Makes a part in this process, where the engine can be told to give so few points a graph."""

        def __init__(self, command: list[str], **options: object) -> None:
            edge_parts.make(Path(command[-2]), os.getppid())

        def poll(self) -> int:
            return 0

        wait = poll

        def kill(self) -> None:
            raise AssertionError("it has ended")

    eager = partial(EdgeOptimizersConfig, indexing_threshold=1)  # kilobytes
    monkeypatch.setattr("app.store.edge_shard.EdgeOptimizersConfig", eager)
    monkeypatch.setattr(edge_parts.subprocess, "Popen", Here)
    index = written(store, "b1", 70)
    segments = list((tmp_path / "b1/shard/segments").iterdir())
    assert sum((segment / "id_tracker.mappings").exists() for segment in segments) == 3
    assert len(segments) == 5, "three parts with graphs, one too small for it, and what the shard itself began with"
    found = [index.search(point.vector, Filters(), 1)[0].product for point in POINTS]
    assert found == [point.product for point in POINTS]


def test_no_more_parts_are_made_at_a_time_than_allowed(store: EdgeStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(edge_parts, "PROCESSES", 1)
    running: list[int] = []
    start = Parts._start

    def counted(self: Parts) -> None:
        start(self)
        running.append(len(self._running))

    monkeypatch.setattr(Parts, "_start", counted)
    assert written(store, "b1", 70).count(Filters()) == 70
    assert running == [1, 1, 1, 1]


def test_points_are_cut_into_parts_however_they_come(store: EdgeStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(edge_parts, "PROCESSES", 4)
    made = []
    move = Parts.move_into

    def counted(self: Parts, shard: Path) -> None:
        self._start()
        made.extend(len(self._running) * [None])
        move(self, shard)

    monkeypatch.setattr(Parts, "move_into", counted)
    monkeypatch.setattr(edge_parts, "_cores", lambda: 4)
    manifest = make_manifest("b1", products=70)
    with store.create(manifest) as writer:
        writer.add([])
        writer.add(POINTS)
        writer.add([])
        writer.finish(manifest)
    assert (store.open("b1").count(Filters()), len(made)) == (70, 4)


def test_what_stands_in_files_meanwhile_comes_back_as_it_was(store: EdgeStore):
    odd = ["two\nlines\r\n", "\u2028\u0085\x00\x1c", "\ufeff{}", '"quotes"\\', "\U0001f469\u200d\U0001f467"]
    points = [
        Point(point.product.model_copy(update={"title": title, "titles": {"de": title}}), point.vector)
        for point, title in zip(POINTS, 5 * odd, strict=False)
    ]
    manifest = make_manifest("b1", products=len(points), mean_words=3.0)
    with store.create(manifest) as writer:
        writer.add([Point(point.product, point.vector.astype(np.float64)) for point in points])
        writer.finish(manifest)
    index = store.open("b1")
    assert index.get([point.product.id for point in points]) == [point.product for point in points]
    assert np.allclose(index.vectors([point.product.id for point in points]), [point.vector for point in points])


@pytest.mark.parametrize("processes", [1, 4])
def test_a_part_that_fails_is_named_with_its_reason_and_nothing_is_left(
    store: EdgeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, processes: int
):
    """With one process it is seen when the second part is to be made, with four in the end."""
    monkeypatch.setattr(edge_parts, "PROCESSES", processes)
    monkeypatch.setattr(edge_parts, "_cores", lambda: processes)
    start = Parts._start

    def damaged(self: Parts) -> None:
        if self._part and self._part.name == "0":
            (self._part / edge_parts._PRODUCTS).write_text("{}\n" * 20)
        start(self)

    monkeypatch.setattr(Parts, "_start", damaged)
    with pytest.raises(IndexUnavailableError) as raised:
        written(store, "b1", 70)
    assert str(raised.value).startswith("part 0 of build b1 could not be made: ValidationError: ")
    assert "id Field required" in str(raised.value)
    assert "run `indexer rebuild` again" in str(raised.value)
    assert "Traceback" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_process_that_is_killed_is_told_from_one_that_failed(store: EdgeStore, monkeypatch: pytest.MonkeyPatch):
    start = subprocess.Popen

    def killed(*arguments, **options):
        process = start(*arguments, **options)
        process.send_signal(signal.SIGKILL)
        return process

    monkeypatch.setattr(edge_parts.subprocess, "Popen", killed)
    with pytest.raises(IndexUnavailableError, match="SIGKILL ended its process; is there memory, and room on the disk"):
        written(store, "b1", 70)


def test_a_process_that_cannot_be_started_is_told(store: EdgeStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(edge_parts.sys, "executable", "/nowhere/python")
    with pytest.raises(IndexUnavailableError, match=r"part 0 of build b1 .+ could not be started .+/nowhere/python"):
        written(store, "b1", 70)


def test_parts_take_no_removals_and_no_product_twice(store: EdgeStore, tmp_path: Path):
    manifest = make_manifest("b1", products=70)
    with store.create(manifest) as writer, pytest.raises(ValueError, match="made from nothing"):
        writer.remove([POINTS[0].product.id])
    with store.create(manifest) as writer:
        writer.add([*POINTS, POINTS[0]])
        with pytest.raises(IndexUnavailableError, match="70 points instead of the 71 of its parts"):
            writer.finish(manifest)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_error_while_parts_are_made_ends_their_processes(store: EdgeStore, tmp_path: Path):
    processes = []

    def failing(points: list[Point]) -> None:
        with store.create(make_manifest("b1", products=70)) as writer:
            writer.add(points)
            processes.extend(process for _, process in writer._parts._running)
            raise KeyError("elsewhere")

    with pytest.raises(KeyError, match="elsewhere"):
        failing(POINTS)
    assert processes
    assert all(process.returncode is not None for process in processes)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


WRITER = """
import sys
from pathlib import Path
from store_samples import make_manifest, make_points
from app.store import edge_writer
from app.store.edge import EdgeStore
edge_writer.GROWING = 30_000
with EdgeStore(Path(sys.argv[1])).create(make_manifest("b1", products=90_000)) as writer:
    writer.add(make_points(30_000))
    print("started", flush=True)
    sys.stdin.readline()
"""


def test_a_part_ends_with_its_killed_writer_and_the_next_one_clears_it_away(store: EdgeStore, tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    part = tmp_path / ".unfinished-b1/parts/0"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], **pipes) as writer:
        assert writer.stdout.readline() == "started\n"
        until(lambda: (part / "shard/segments").exists())
        writer.kill()
    until(lambda: (part / "errors.txt").read_text() == "nobody waits for this part any more\n")

    assert written(store, "b2", 20).count(Filters()) == 70
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "b2"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
