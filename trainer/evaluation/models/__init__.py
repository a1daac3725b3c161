"""MOON and the models that it is measured against, behind one interface."""

from __future__ import annotations

from trainer.evaluation.models.base import Content, EmbeddingModel

__all__ = ["Content", "EmbeddingModel"]
