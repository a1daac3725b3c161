"""`app serve` with an embedder that needs no model: ``python serve_sample.py --port N``.

Where GATE names a folder, queries with the word "gate" wait until the file `open` appears in it, and leave `entered`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import app.moon
from app import cli
from app.schema import Query
from tests.conftest import ColourWordEmbedder


class WaitingEmbedder(ColourWordEmbedder):
    def embed_queries(self, queries: Sequence[Query]):
        if any("gate" in query.text for query in queries):
            folder = Path(os.environ["GATE"])
            (folder / "entered").touch()
            while not (folder / "open").exists():
                time.sleep(0.01)
        return super().embed_queries(queries)


if __name__ == "__main__":
    app.moon.load_encoder = lambda settings: WaitingEmbedder()  # type: ignore[assignment]
    cli.entry_points = lambda group: []  # type: ignore[assignment]
    cli.main()
