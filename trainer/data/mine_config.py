"""Which products may become model-mined hard negatives; free of heavy imports, for the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MineConfig:
    """Per record up to ``negatives`` of the ``top_k`` nearest products, the nearest ``range_min`` passed over.

    The margins are those of sentence-transformers' ``mine_hard_negatives``, and both hold. By default a negative scores
    at most 95 % of the positive (as NV-Retriever, Moreira et al. 2024).
    """

    negatives: int = 5
    top_k: int = 100
    range_min: int = 0
    relative_margin: float = 0.05
    absolute_margin: float = 0.0

    def limit(self, positive: float) -> float:
        """The largest score of a negative whose positive has the score ``positive``.

        >>> round(MineConfig(absolute_margin=0.1).limit(0.8), 6)
        0.7
        """
        return positive - max(self.relative_margin * abs(positive), self.absolute_margin)
