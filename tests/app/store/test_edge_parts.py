"""Large builds on the embedded engine: parts made by processes of their own become one build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from qdrant_edge import EdgeOptimizersConfig
from store_samples import make_manifest, make_points

from app.errors import IndexUnavailableError
from app.schema import Filters
from app.store import edge_parts, edge_writer
from app.store.base import Index
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
            edge_parts.make(Path(command[-1]))

        def wait(self) -> int:
            return 0

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
    running, wait, most = [], Parts._wait, 0
    start = subprocess.Popen

    def counted(*arguments, **options):
        process = start(*arguments, **options)
        running.append(process)
        return process

    def waited(self):
        nonlocal most
        most = max(most, len(self._running))
        wait(self)

    monkeypatch.setattr(edge_parts.subprocess, "Popen", counted)
    monkeypatch.setattr(Parts, "_wait", waited)
    assert written(store, "b1", 70).count(Filters()) == 70
    assert (len(running), most) == (4, 1)


def test_a_part_that_fails_is_named_with_its_reason_and_nothing_is_left(store: EdgeStore, tmp_path: Path, monkeypatch):
    start = Parts._start

    def cut(self):
        if self._growing:
            os.truncate(self._growing / edge_parts._VECTORS, 7 * 4)
        start(self)

    monkeypatch.setattr(Parts, "_start", cut)
    with pytest.raises(IndexUnavailableError, match=r"part 0 of build b1 could not be made: .+ The published build"):
        written(store, "b1", 70)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_process_that_is_killed_is_told_from_one_that_failed(store: EdgeStore, monkeypatch: pytest.MonkeyPatch):
    start = subprocess.Popen

    def killed(*arguments, **options):
        process = start(*arguments, **options)
        process.send_signal(signal.SIGKILL)
        return process

    monkeypatch.setattr(edge_parts.subprocess, "Popen", killed)
    with pytest.raises(IndexUnavailableError, match="ended by signal 9; is there enough memory"):
        written(store, "b1", 70)


WRITER = """
import sys
from pathlib import Path
from store_samples import make_manifest, make_points
from app.store import edge_writer
from app.store.edge import EdgeStore
edge_writer.GROWING = 3000
with EdgeStore(Path(sys.argv[1])).create(make_manifest("b1").model_copy(update={"products": 9000})) as writer:
    writer.add(make_points(3000))
    print(writer._parts._running[0][1].pid, flush=True)
    sys.stdin.readline()
"""


def test_a_part_does_not_outlive_its_killed_writer_by_long_and_does_no_harm(store: EdgeStore, tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], **pipes) as writer:
        part = int(writer.stdout.readline())
        writer.kill()
    assert written(store, "b2", 70).count(Filters()) == 70
    deadline = time.monotonic() + 60
    while Path(f"/proc/{part}").exists() and "Z" not in Path(f"/proc/{part}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    written(store, "b3", 20).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "b2", "b3"]
