"""Two processes embed one catalog, as a launcher would start them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

HERE = Path(__file__).resolve()

RUN = """
import atexit, sys
sys.path[:0] = [{tests!r}, {root!r}]
import app.moon
from app.errors import ModelError
from conftest import ColourWordEmbedder

embedder = ColourWordEmbedder()
embed = embedder.embed_products
def picky(products, images):
    if any(product.id == "chair-7" for product in products):
        raise ValueError("strange characters")
    return embed(products, images)
embedder.embed_products = picky
def load(settings):
    if {broken!r}:
        raise ModelError("the checkpoint is damaged")
    return embedder
app.moon.load_encoder = load
app.moon.model_fingerprint = lambda path, settings: embedder.fingerprint
atexit.register(lambda: print("embedded", embedder.embedded_products, file=sys.stderr))

from indexer.cli import main
sys.argv = ["indexer", "rebuild", {catalog!r}]
main()
"""


def start(shop, data, ranks, broken=()):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(ranks):
        places = {"tests": str(HERE.parents[1]), "root": str(HERE.parents[2]), "catalog": str(shop.catalog)}
        script = RUN.format(broken=rank in broken, **places)
        environment = os.environ | {"MOON_DATA": str(data), "MOON_MODEL": "shop/colour-words"}
        if ranks > 1:
            environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen([sys.executable, "-c", script], env=environment, **pipes))
    return [(*process.communicate(timeout=300), process.returncode) for process in processes]


def contents(data):
    parts = sorted(data.glob("vectors/*/part-*.parquet"))
    table = pl.concat([pl.read_parquet(part) for part in parts]).unique("content").sort("content")
    return table["content"].to_list(), table["vector"].to_numpy()


def problems(data):
    (report,) = data.glob("reports/*.parquet")
    return pl.read_parquet(report).rows()


@pytest.mark.slow
def test_two_processes_make_the_index_that_one_makes(shop):
    (shop.folder / "images/2.png").write_bytes(b"no picture")
    shop.write()
    one, two = shop.folder / "one", shop.folder / "two"
    ((_, _, alone),) = start(shop, one, ranks=1)
    (leader, told, first), (other, whispered, second) = start(shop, two, ranks=2)
    assert (alone, first, second) == (3, 0, 0), told + whispered
    assert "9 products, 9 newly embedded" in leader
    assert "Rejected: 1. Warnings: 1." in leader
    assert other == ""
    embedded = [int(words.split("embedded ")[-1].split()[0]) for words in (told, whispered)]
    assert sum(embedded) == 9
    assert min(embedded) >= 4
    assert contents(one)[0] == contents(two)[0]
    np.testing.assert_allclose(contents(one)[1], contents(two)[1], atol=1e-6)
    assert problems(one) == problems(two)


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others_with_its_reason_and_nothing_is_published(shop):
    shop.write()
    (_, told, first), (_, whispered, second) = start(shop, shop.settings.data, ranks=2, broken=(1,))
    assert (first, second) == (1, 1)
    assert "Error: process 1: the checkpoint is damaged" in whispered
    assert "Error: another process of this launch failed" in told
    assert "Traceback" not in told + whispered
    assert shop.store.published() is None
