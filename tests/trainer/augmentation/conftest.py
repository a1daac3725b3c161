"""Augmentation of the tiny home-goods set with an embedder of colours and words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.settings import Settings
from trainer.augmentation.augment import Augmentation, augment
from trainer.augmentation.config import AugmentConfig
from trainer.data.corpus import Corpus
from trainer.data.pictures import PictureStore
from trainer.evaluation.progress import silently
from trainer.evaluation.search import top_k


@pytest.fixture
def run(corpus, embedder, tmp_path) -> Callable[..., tuple[Path, Augmentation]]:
    """Augment into a folder of the test's own; nothing is too far from its product, if the test does not say so."""

    def start(name: str = "out", data: Corpus = corpus, by=embedder, write_title=None, edit=None, **wishes):
        config = AugmentConfig(**{"min_score": -1.0, "min_category_score": -1.0, **wishes})
        found = augment(
            *(data, by, PictureStore(tmp_path / "cache", Settings()), lambda picture, title: picture.box),
            *(tmp_path / name, config),
            write_title=write_title,
            edit=edit,
            search=top_k,
            track=silently,
        )
        return tmp_path / name, found

    return start
