"""A rebuild killed at any moment leaves the published build alone, and the next run finishes it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve()

RUN = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from conftest import ColourWordEmbedder
from app.settings import Settings
from app.store import open_store
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

store = open_store(settings)
{stop}
rebuild(Path({catalog!r}), settings, store, Model("colour words", embedder.fingerprint, lambda: embedder))
"""

STAGES = {
    "embedding": ('stop_at(embedder, "embed_products", 2)', 2),
    "loading": ('import indexer.build; indexer.build.LOAD_ROWS = 2; stop_at(EdgeWriter, "add", 2)', 0),
    "finishing": ('stop_at(EdgeWriter, "finish", 0)', 0),
    "publishing": ('stop_at(type(store), "publish", 0)', 0),
}


@pytest.mark.parametrize("stage", STAGES)
def test_after_a_kill_the_old_build_is_published_and_the_next_run_finishes(shop, stage):
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
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout.readline() == "reached\n"
    finally:
        run.send_signal(signal.SIGKILL)
        run.communicate()

    assert shop.store.published() == before.build
    assert shop.product("chair-0").title == "red chair 0"
    after = shop.rebuild()
    assert (after.products, after.embedded) == (10, left_to_embed)
    assert shop.product("chair-0").title == "red chair 0 new"
    assert not list((shop.settings.data / "builds").glob(".unfinished-*"))
