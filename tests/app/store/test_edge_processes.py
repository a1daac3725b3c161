"""Several processes on one folder of embedded builds: readers share, writers take turns, a killed one harms nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from store_samples import load, make_manifest, make_points

from app.errors import IndexUnavailableError
from app.schema import Filters
from app.store.edge import EdgeStore

WRITER = """
import itertools, sys
from pathlib import Path
from store_samples import make_manifest, make_points
from app.store.edge import EdgeStore
with EdgeStore(Path(sys.argv[1])).create(make_manifest("b2")) as writer:
    for seed in itertools.count():
        writer.add(make_points(500, seed))
        print("loaded", flush=True)
"""

READER = """
import sys
from pathlib import Path
from app.schema import Filters
from app.store.edge import EdgeStore
index = EdgeStore(Path(sys.argv[1])).open("b1")
print(index.count(Filters(category=["Lighting"])), flush=True)
sys.stdin.readline()
index.close()
"""


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.fixture
def store(tmp_path: Path) -> EdgeStore:
    store = EdgeStore(tmp_path)
    load(store, "b1", make_points(60))
    store.publish("b1")
    return store


def test_a_killed_writer_leaves_the_published_build_and_no_other(store: EdgeStore, tmp_path: Path):
    with start(WRITER, tmp_path) as writer:
        assert [writer.stdout.readline() for _ in range(2)] == ["loaded\n"] * 2
        assert list(tmp_path.glob(".unfinished-b2"))
        writer.send_signal(signal.SIGKILL)
    assert store.published() == "b1"
    assert [manifest.build for manifest in store.builds()] == ["b1"]
    index = store.open("b1")
    assert index.count(Filters()) == 60
    index.close()

    load(store, "b3", make_points(5))
    assert [manifest.build for manifest in store.builds()] == ["b3", "b1"]
    assert not list(tmp_path.glob(".unfinished*"))


def test_several_processes_read_one_build(store: EdgeStore, tmp_path: Path):
    index = store.open("b1")
    with start(READER, tmp_path) as first, start(READER, tmp_path) as second:
        for reader in (first, second):
            assert reader.stdout.readline() == "20\n"
        assert len(index.search(make_points()[0].vector, Filters(), limit=60)) == 60
        for reader in (first, second):
            reader.communicate("done\n")
            assert reader.returncode == 0
    assert index.count(Filters(category=["Lighting"])) == 20
    index.close()


def test_reading_leaves_a_build_as_it_was_written(store: EdgeStore, tmp_path: Path):
    def contents() -> dict[Path, bytes]:
        files = (tmp_path / "b1").rglob("*")
        return {file: file.read_bytes() for file in files if file.is_file() and file.name != "edge_config.json"}

    before = contents()
    index = store.open("b1")
    index.search(make_points()[0].vector, Filters(category=["Lighting"]), limit=5)
    index.close()
    assert contents() == before


def test_a_second_writer_is_told_to_wait(store: EdgeStore):
    with store.create(make_manifest("b2")), pytest.raises(IndexUnavailableError, match="another rebuild"):
        store.create(make_manifest("b3"))
    load(store, "b3", make_points(5))
