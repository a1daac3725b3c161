"""What a person is shown of a run: products drawn at random, the worst that was kept, and some that was rejected."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Sequence

from trainer.augmentation.kept import Candidate

DRAWN = 40
"""Products drawn at random."""
WORST = 20
"""Titles and pictures with the least scores among the kept, and as many of the rejected ones, drawn at random."""

Shown = tuple[int, Sequence[Candidate], Sequence[str]]
"""The row of a product, what was made of it, and the reason against each of that (empty: kept)."""


class Examples:
    """Takes all ``products`` of a run one after another, in memory for what it shows alone; the same for a ``seed``.

    What could not be made is no example: there is nothing to look at.
    """

    def __init__(self, products: int, seed: int) -> None:
        draw = random.Random(seed).sample(range(products), min(DRAWN, products))  # noqa: S311
        self._chosen = set(draw)
        self._rng = random.Random(f"{seed}:rejected")  # noqa: S311
        self._worst: list[tuple[float, int, int, Candidate]] = []
        self._taken = self._kept = self._rejected = 0
        self.drawn: list[Shown] = []
        self.rejected: list[Shown] = []

    @property
    def worst(self) -> list[Shown]:
        """The kept with the least cosine to their products, the least first."""
        return [(row, [one], [""]) for _, _, row, one in sorted(self._worst, reverse=True)]

    def add(self, row: int, made: Sequence[Candidate], verdicts: Sequence[str]) -> None:
        if self._taken in self._chosen:
            self.drawn.append((row, made, verdicts))
        self._taken += 1
        for one, reason in _to_look_at(made, verdicts):
            if reason:
                self._add_rejected((row, [one], [reason]))
            else:
                self._add_kept(row, one)

    def _add_kept(self, row: int, one: Candidate) -> None:
        self._kept += 1
        entry = (-(one.score or 0.0), -self._kept, row, one)
        (heapq.heappush if self._kept <= WORST else heapq.heappushpop)(self._worst, entry)

    def _add_rejected(self, example: Shown) -> None:
        """Every one with the same chance (Vitter's algorithm R)."""
        self._rejected += 1
        place = len(self.rejected) if len(self.rejected) < WORST else self._rng.randrange(self._rejected)
        if place < WORST:
            self.rejected[place : place + 1] = [example]


def _to_look_at(made: Sequence[Candidate], verdicts: Sequence[str]) -> Iterable[tuple[Candidate, str]]:
    return ((one, reason) for one, reason in zip(made, verdicts, strict=True) if one.what)
