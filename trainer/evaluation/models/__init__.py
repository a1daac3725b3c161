"""MOON and the models that it is measured against, behind one interface."""

from __future__ import annotations

from app.settings import Settings
from trainer.evaluation.models.base import Content, EmbeddingModel
from trainer.evaluation.models.checkpoint import MOON, TOWERS, read_checkpoint

__all__ = ["Content", "EmbeddingModel", "open_model"]


def open_model(name: str, settings: Settings) -> EmbeddingModel:
    """The model in a folder or behind a Hub id, on the configured device.

    Its configuration tells the family; no code from a checkpoint is ever run. Raises ModelError, naming the supported
    families, for what cannot be evaluated.
    """
    checkpoint = read_checkpoint(name)
    if checkpoint.family == MOON:
        from trainer.evaluation.models.moon import open_moon

        return open_moon(checkpoint, settings)
    if checkpoint.family in TOWERS.values():
        from trainer.evaluation.models.towers import open_towers

        return open_towers(checkpoint, settings)
    from trainer.evaluation.models.joint import open_joint, open_sentence

    return open_sentence(checkpoint, settings) if checkpoint.modules else open_joint(checkpoint, settings)
