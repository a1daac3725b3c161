"""An embedder that waits where a test wants it to."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from app.schema import Query
from tests.conftest import ColourWordEmbedder


class GatedEmbedder(ColourWordEmbedder):
    """Waits in every call until the gate opens, fails on the word "poison", and remembers its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()

    @property
    def batches(self) -> list[int]:
        return [len(batch) for batch in self.asked]

    def embed_queries(self, queries: Sequence[Query]):
        self.asked.append([query.text for query in queries])
        self.entered.set()
        assert self.gate.wait(10)
        if any("poison" in query.text for query in queries):
            raise ValueError("poison")
        return super().embed_queries(queries)
