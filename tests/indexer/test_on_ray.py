"""Embedding on a Ray cluster of this machine, one of whose workers is killed in the middle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("ray", reason="Ray is not installed (extra: ray)")

HERE = Path(__file__).resolve()

RUN = """
import json, os, signal, sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
import conftest, ray
from app.settings import Settings
from app.store import open_store
from indexer import on_ray
from indexer.rebuild import Model, rebuild
from indexer.vectors import VectorArchive

ray.cloudpickle.register_pickle_by_value(conftest)
on_ray.SENT_TOGETHER = 4
for attempt in range(3):  # it gives itself 30 seconds, which are few on a busy machine
    try:
        ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
        break
    except Exception as error:
        print(error, file=sys.stderr)
        ray.shutdown()
pids = Path({folder!r})

def load():
    embedder = conftest.ColourWordEmbedder()
    embed = embedder.embed_products
    (pids / str(os.getpid())).touch()
    def slowly(products, images):
        if any(product.id == "chair-7" for product in products):
            raise ValueError("strange characters")
        time.sleep(0.1)
        return embed(products, images)
    embedder.embed_products = slowly
    return embedder

append, parts = VectorArchive.append, []
def killing(self, *args):
    append(self, *args)
    parts.append(args)
    if len(parts) == 2:
        (worker,) = pids.iterdir()
        os.kill(int(worker.name), signal.SIGKILL)
VectorArchive.append = killing

settings = Settings(_env_file=None, data=Path({data!r}))
model = Model("colour words", "colour-words-1", load)
outcome = rebuild(Path({catalog!r}), settings, open_store(settings), model, spread=on_ray.spread)
workers = [pid for pid in os.listdir(pids) if int(pid) != os.getpid()]
print(json.dumps([outcome.products, outcome.embedded, len(workers), len(parts)]))
"""


def contents(data):
    parts = sorted(data.glob("vectors/*/part-*.parquet"))
    table = pl.concat([pl.read_parquet(part) for part in parts]).unique("content").sort("content")
    return table["content"].to_list(), table["vector"].to_numpy()


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_makes_the_index_that_one_process_makes(tmp_path_factory, embedder):
    from tests.indexer.conftest import Shop

    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(folder, embedder, size=40)
    (folder / "images/2.png").write_bytes(b"no picture")
    shop.rows.append({**shop.rows[0], "id": "twin"})
    shop.rows = [row for row in shop.rows if row["id"] != "chair-7"]
    expected = shop.rebuild()
    shop.rows.append({**shop.rows[0], "id": "chair-7", "title": "cannot be embedded"})
    (folder / "pids").mkdir()
    places = {"tests": str(HERE.parents[1]), "root": str(HERE.parents[2]), "folder": str(folder / "pids")}
    script = RUN.format(data=str(folder / "cluster"), catalog=str(shop.write()), **places)
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[2]), "RAY_USAGE_STATS_ENABLED": "0"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    products, embedded, workers, parts = json.loads(
        next(line for line in run.stdout.splitlines() if line.startswith("["))
    )
    assert (products, embedded) == (expected.products, expected.embedded)
    assert workers >= 2
    assert parts > 2
    assert contents(shop.settings.data)[0] == contents(folder / "cluster")[0]
    np.testing.assert_array_equal(contents(shop.settings.data)[1], contents(folder / "cluster")[1])
    (report,) = (folder / "cluster/reports").iterdir()
    assert pl.read_parquet(report).select("severity", "id").rows() == [("warning", "chair-2"), ("reject", "chair-7")]
