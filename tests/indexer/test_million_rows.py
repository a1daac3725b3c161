"""A catalog of a million products is indexed within bounded memory, from the file to the published build.

The stub's vectors are short: those of a real model lie in files that are mapped into memory, which the system takes
back when it needs to, so they count as little here as there.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROWS = 1_000_000
DIMENSIONS = 32
MAX_MEGABYTES = 3000

ROOT = Path(__file__).parents[2]
BENCHMARKS = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "benchmarks")!r}]
"""
WRITE = """
from catalog import write_catalog
write_catalog(Path({catalog!r}), {rows})
"""
REBUILD = """
from catalog import RandomEncoder
from memory import Peak
from app.schema import Filters
from app.settings import Settings
from app.store import open_store
from indexer.rebuild import Model, rebuild

encoder = RandomEncoder({dimensions}, max_tokens=512)
settings = Settings(_env_file=None, data=Path({data!r}))
store = open_store(settings)
with Peak() as peak:
    outcome = rebuild(Path({catalog!r}), settings, store, Model("random", "random", lambda: encoder))
print(outcome.products, store.open(store.published()).count(Filters()), peak.anonymous)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells anonymous memory")
def test_a_million_products_are_indexed_in_less_than_3_gb_of_anonymous_memory(tmp_path):
    names = {"catalog": str(tmp_path / "catalog.csv"), "data": str(tmp_path / "data")}
    python(WRITE, rows=ROWS, **names)
    products, published, megabytes = map(float, python(REBUILD, dimensions=DIMENSIONS, **names).split())
    assert (products, published) == (ROWS, ROWS)
    assert megabytes < MAX_MEGABYTES


def python(script, **values):
    """What a process of its own prints: its memory is its own too."""
    command = [sys.executable, "-c", BENCHMARKS + script.format(**values)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
