"""The processes that embed one catalog together, as `accelerate launch` or `torchrun` start them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from app.catalog.problems import Report
from app.errors import IndexUnavailableError
from indexer.embedding import Embedding
from indexer.progress import Track

PATIENCE = timedelta(days=30)
"""How long a process waits for the others' shares of the largest catalog; one that fails ends all at once."""


@dataclass(frozen=True)
class Ranks:
    """This process among ``size``: number ``rank`` from 0, which leads."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes builds and speaks to people."""
        return self.rank == 0

    def spread(self, embedding: Embedding, track: Track) -> None:
        """Embed this process's share of the catalog, while the others embed theirs; a :data:`Spread`.

        Products are dealt out in turn, so that each process gets large and small ones. The leading one holds the lock
        and has cleared up before any begins, and reads the others' vectors in the end.
        """
        rows = embedding.rows
        self.meet()
        with track(f"Pictures and vectors, process 1 of {self.size}", len(rows) // self.size) as advance:
            embedding.of(islice(rows.largest_first(), self.rank, None, self.size), Report(), advance)
        with embedding.clock.stage("others"):
            self.meet()
        embedding.archive.refresh()

    def meet(self) -> None:
        """Wait until every process is here. Raises IndexUnavailableError if one of them failed."""
        from torch import distributed

        try:
            distributed.barrier()
        except RuntimeError as error:
            raise IndexUnavailableError(
                f"another process of this launch failed ({str(error).splitlines()[0]}); its own message says why. "
                "Correct that and run the same command again: what was embedded is kept"
            ) from error


def this_rank() -> Ranks:
    """What the launcher says in the environment (RANK, WORLD_SIZE); one process alone without it."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks, connected while the block runs. Only files pass between them, so that every machine can do it."""
    ranks = this_rank()
    if ranks.size == 1:
        yield ranks
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield ranks
    finally:
        distributed.destroy_process_group()
