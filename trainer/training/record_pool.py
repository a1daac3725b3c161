"""Records of one query modality, drawn by number."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray


class RecordPool:
    """Rows of records: each once per pass if they weigh the same, else by weight."""

    def __init__(self, rows: NDArray[np.int64], weights: NDArray[np.float32], seed: int) -> None:
        self._rows, self._seed = rows, seed
        uneven = len(weights) > 0 and not np.all(weights == weights[0])
        self._heights = np.cumsum(weights, dtype=np.float64) if uneven else None
        self._pass, self._order = -1, np.empty(0, dtype=np.int64)

    def pick(self, number: int, rng: random.Random) -> int:
        """The row of draw ``number``."""
        if self._heights is not None:
            return self.any(rng)
        passed, place = divmod(number, len(self._rows))
        if passed != self._pass:
            self._pass, self._order = passed, np.random.default_rng((self._seed, passed)).permutation(len(self._rows))
        return int(self._rows[self._order[place]])

    def any(self, rng: random.Random) -> int:
        """A row by weight alone."""
        if self._heights is None:
            return int(self._rows[rng.randrange(len(self._rows))])
        return int(self._rows[np.searchsorted(self._heights, rng.random() * self._heights[-1], side="right")])
