"""A rebuild killed at any moment leaves the published build alone, search goes on, and the next run finishes it."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.schema import Filters, Query
from app.store.live import LiveIndex

HERE = Path(__file__).resolve()

RUN = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from conftest import ColourWordEmbedder
from app.settings import Settings
from app.store import open_store
from app.store import edge_parts, edge_writer
from app.store.edge import EdgeWriter
from indexer.rebuild import Model, rebuild

embedder = ColourWordEmbedder()
settings = Settings(_env_file=None, data=Path({data!r}))

def stop_at(owner, name, calls):
    original, seen = getattr(owner, name), []
    def stopping(*args):
        seen.append(args)
        if len(seen) > calls:
            print("reached", flush=True)
            time.sleep(60)
        return original(*args)
    setattr(owner, name, stopping)

def stop_when_optimising():
    finish = EdgeWriter.finish
    class Stuck:
        def __init__(self, shard):
            self.flush = shard.flush
        def optimize(self):
            print("reached", flush=True)
            time.sleep(60)
    def stuck(self, manifest):
        self._shard = Stuck(self._shard)
        finish(self, manifest)
    EdgeWriter.finish = stuck

store = open_store(settings)
{stop}
rebuild(Path({catalog!r}), settings, store, Model("colour words", embedder.fingerprint, lambda: embedder))
"""

STAGES = {
    "reading": ('from indexer.spool import Spool; stop_at(Spool, "append", 4)', 10),
    "embedding": ('stop_at(embedder, "embed_products", 2)', 2),
    "writing a part": ('from indexer import vectors; stop_at(vectors.os, "fsync", 2)', 6),
    "loading": ('import indexer.build; indexer.build.LOAD_ROWS = 2; stop_at(EdgeWriter, "add", 2)', 0),
    "making parts": (
        "import indexer.build; indexer.build.LOAD_ROWS = 2; edge_writer.GROWING = 4; "
        'stop_at(edge_parts.Parts, "move_into", 0)',
        0,
    ),
    "optimising": ("stop_when_optimising()", 0),
    "naming the build": ('stop_at(edge_writer, "sync_folder", 0)', 0),
    "publishing": ('stop_at(type(store), "publish", 0)', 0),
    "dropping old builds": ('import indexer.build; stop_at(indexer.build, "drop_old_builds", 0)', 0),
}
"""Where the process is killed, and how many of ten products, in batches of four, the next run has to embed."""


@contextmanager
def searching(shop):
    """Search all the time, as a serving process does; yields the titles of the best hit, in the order they came."""
    live = LiveIndex(shop.store, shop.embedder.fingerprint, check_seconds=0.0)
    vector = shop.embedder.embed_queries([Query(text="red chair 0")])[0][0]
    titles, stop = [], threading.Event()

    def search():
        while not stop.is_set():
            with live.index() as index:
                (hit,) = index.search(vector, Filters(), 1)
            titles.append(hit.product.title)
            stop.wait(0.01)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield titles
    finally:
        stop.set()
        thread.join()
        live.close()


def wait_for_another(titles):
    count, deadline = len(titles), time.monotonic() + 60
    while len(titles) <= count + 1:  # one of them may have begun before
        assert time.monotonic() < deadline, "search does not answer any more"
        time.sleep(0.01)


@pytest.mark.parametrize("stage", STAGES)
def test_after_a_kill_search_goes_on_in_the_old_build_and_the_next_run_finishes(shop, stage):
    before = shop.rebuild()
    for row in shop.rows:
        row["title"] += " new"
    stop, left_to_embed = STAGES[stage]
    script = RUN.format(
        tests=str(HERE.parents[1]),
        root=str(HERE.parents[2]),
        data=str(shop.settings.data),
        catalog=str(shop.write()),
        stop=stop,
    )
    with searching(shop) as titles:
        wait_for_another(titles)
        run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        try:
            assert run.stdout.readline() == "reached\n"
            wait_for_another(titles)
        finally:
            run.send_signal(signal.SIGKILL)
            run.communicate()
        is_published = stage == "dropping old builds"
        wait_for_another(titles)
        assert (shop.store.published() != before.build) == is_published
        assert titles[-1] == ("red chair 0 new" if is_published else "red chair 0")

        after = shop.rebuild()
        wait_for_another(titles)
        assert (after.products, after.embedded) == (10, left_to_embed)
        assert titles[-1] == "red chair 0 new"
        assert set(titles) == {"red chair 0", "red chair 0 new"}
    data = shop.settings.data
    assert not [*data.glob("builds/.unfinished-*"), *data.glob("vectors/*/*.tmp"), *data.glob("products-*.tmp")]
