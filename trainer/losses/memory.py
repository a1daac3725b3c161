"""Temporal negatives (paper): the documents of past batches, without gradient."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class Memory(nn.Module):
    """A queue of the documents of the last ``batches`` batches with their keys, oldest first.

    Filled from the start and read once ``warmup`` batches were added, since a model changes fast at first (our
    decision). Everything stands in the state dict, as tensors, so that a resumed run goes on with the same memory.

    Buffers: ``documents`` (held batches, rows, width) and ``keys`` (held batches, rows, K).
    """

    documents: Tensor
    keys: Tensor

    def __init__(self, batches: int, warmup: int = 0) -> None:
        super().__init__()
        self.batches, self.warmup = batches, warmup
        self.seen = 0
        self.register_buffer("documents", torch.zeros(0, 0, 0))
        self.register_buffer("keys", torch.zeros(0, 0, 0, dtype=torch.long))
        self._restart_logged = False

    def recall(self, documents: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Documents (R, width) and keys (R, K) of past batches, for a batch of (rows, width) and (rows, K).

        R is 0 while nothing is held and during the warm-up. A batch of another shape restarts the memory.
        """
        if self.documents.shape[1:] != documents.shape or self.keys.shape[1:] != keys.shape:
            self._restart(documents, keys)
        usable = 0 if self.seen < self.warmup else len(self.documents)
        return self.documents[:usable].flatten(0, 1), self.keys[:usable].flatten(0, 1)

    def add(self, documents: Tensor, keys: Tensor) -> None:
        """Hold a batch and let the oldest go. New tensors each time: a backward pass may still need the old ones."""
        self.seen += 1
        if self.batches > 0:
            kept = slice(max(0, len(self.documents) - self.batches + 1), None)
            self.documents = torch.cat([self.documents[kept], documents.detach()[None].to(self.documents.dtype)])
            self.keys = torch.cat([self.keys[kept], keys[None]])

    def _restart(self, documents: Tensor, keys: Tensor) -> None:
        if len(self.documents) and not self._restart_logged:
            logger.warning(
                "the memory of past negatives restarts: it holds batches of shape %s with keys %s, this one has %s "
                "with keys %s; drop incomplete batches to keep it",
                *(tuple(shape) for shape in (self.documents.shape[1:], self.keys.shape[1:])),
                *(tuple(shape) for shape in (documents.shape, keys.shape)),
            )
            self._restart_logged = True
        self.documents, self.keys = documents.detach().new_zeros(0, *documents.shape), keys.new_zeros(0, *keys.shape)

    def get_extra_state(self) -> Tensor:
        """Batches seen since training began, as a tensor, which every checkpoint format can hold."""
        return torch.tensor(self.seen)

    def set_extra_state(self, state: Tensor) -> None:
        self.seen = int(state)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Buffers take the saved shapes; of a longer memory the newest batches are kept."""
        for name, buffer in (("documents", self.documents), ("keys", self.keys)):
            if (saved := state_dict.get(prefix + name)) is not None:
                saved = saved[max(0, len(saved) - self.batches) :]
                state_dict[prefix + name] = saved
                setattr(self, name, torch.zeros_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *args)
