"""What checkpoints with the starter's small, frozen tower have: kept features, a box head, a skip path to warm up."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from app.moon.load import moon_model
from app.moon.skip import PicturePath
from app.moon.tower import EfficientNetLiteModel
from app.moon.transformer import MoonTransformer
from trainer.data.corpus import Corpus
from trainer.data.views import VARIANTS, View
from trainer.training.batches import MapEncoding, TripletCollator
from trainer.training.detector import Target, boxed_pictures, fit_box_head, targets_of
from trainer.training.features import LowerMaps, MapTower, Read, TowerMaps
from trainer.training.looks import Gallery, Photos, fit_looks
from trainer.training.meanings import fit_meaning, labels_of
from trainer.training.model import bare
from trainer.training.presets import Stage
from trainer.training.stages import FINAL, Workshop
from trainer.training.staging import SCENES
from trainer.training.tower import TunedTower, fit_tower
from trainer.training.trainer import save_safely
from trainer.training.triplets import TripletSource
from trainer.training.warmup import (
    align_pictures,
    align_projector,
    gate_is_closed,
    standardise_llm,
    without_decoder,
)

logger = logging.getLogger(__name__)

MAX_VIEWS = 60_000
"""Feature maps of more views than this are not kept: 49 KB each."""
CUTS, SCENE_CUTS = 2 + 2 * VARIANTS, 3
MEASURED_TRIPLETS, MEASURED_AT_ONCE = 96, 32
"""Triplets whose positives show what the LLM's output looks like."""
TEXTS_AT_ONCE = 256
ALIGNED = ("multi_modal_projector.linear_1", "multi_modal_projector.linear_2")
BOX_IOU = "dev_iou"
MEASURED = ("moon_skip.centre", "moon_skip.spread")


def has_small_tower(module: MoonTransformer) -> bool:
    return isinstance(getattr(module.model, "vision_tower", None), EfficientNetLiteModel)


def views_of(corpus: Corpus, source: TripletSource) -> int:
    """About how many views the training draws from; a product has about two packshots."""
    queries = int((corpus.columns["modalities"] & 1).sum())
    scenes = SCENE_CUTS * SCENES if source.scenes else 0
    augmented = source.augmented.pictures if source.augmented else 0
    return 2 * len(source.items) * (1 + scenes) + CUTS * queries + augmented


class Starter:
    """Holds the tower while kept feature maps take its place in the model."""

    def __init__(self, module: MoonTransformer, read: Read, cache: Path) -> None:
        self._module, self._read, self._cache = module, read, cache
        self._model = bare(module)
        self._tower = self._model.vision_tower
        self.tokens = TowerMaps(self._tower, read, cache, module.model.config.vision_config.grid)
        self.box_iou: float | None = None
        self.stand_in = MapTower(self._tower)
        self.encoding = MapEncoding(module, self.tokens, self.stand_in)
        self._model.vision_tower = self.stand_in
        if module.moon.picture_dims:
            module.watch(self.stand_in)

    def give_back(self) -> None:
        """Put the tower back into the model, and keep the features that are new."""
        self._model.vision_tower = self._tower.to(self._module.model.device)
        self.tokens.save()

    def fit_tower(self, shop: Workshop, stage: Stage) -> None:
        """Tune the tower's upper stages on photos; a resumed run reads them. What was kept of the old tower is left."""
        path, file = self._untaught_pictures(), shop.folder / stage.name / FINAL
        upper, source = self._tower.upper_parts(), shop.source.of_pictures()
        if path is None:
            logger.info("the tower is not tuned: no skip path takes its statistics, or the LLM's gate is open already")
            return
        if not file.exists():
            tuned = TunedTower(self._tower, LowerMaps(self._tower, self._read, self._cache))
            gallery = Gallery(source, tuned.look)
            if not gallery.owners or not source.modalities:
                logger.info("the tower is not tuned: there are no photos, or no product has a picture that can be read")
                return
            width, channels = path.meaning.out_features, gallery.statistics.shape[1]
            spare = PicturePath(channels, width, path.picture_dims, path.dropout.p)
            align_pictures(spare, gallery.statistics)
            fit_tower(tuned, spare, Photos(source, tuned.maps, shop.broken), gallery, stage)
            tuned.maps.save()
            save_safely(upper.state_dict(), file)
        upper.load_state_dict(load_file(file))
        self.tokens.open()

    def fit_boxes(self, shop: Workshop, train: NDArray[Any], dev: NDArray[Any], stage: Stage) -> None:
        """Train the box head, if the model has one and pictures come with boxes; a resumed run reads it."""
        corpus, seed, file = shop.source.corpus, shop.plan.config.seed, shop.folder / stage.name / FINAL
        head = self._module.model.moon_box_head if self._module.moon.box_head else None
        if head is not None and file.exists():
            state = load_file(file)
            self.box_iou = state.pop(BOX_IOU).item()
            head.load_state_dict(state)
            return
        learned: list[Target] = []
        if head is not None:
            scenes = shop.source.scenes.of(shop.source.items) if shop.source.scenes else ()
            learned = targets_of(boxed_pictures(corpus, train), self._read, frames=True, scenes=scenes)
        if head is None or not learned:
            logger.info("no box head is trained: the model has none, or the data have no pictures with boxes")
            return
        maps = TowerMaps(self._tower, self._read, self._cache, None)
        held_out = targets_of(boxed_pictures(corpus, dev), self._read, frames=False)
        self.box_iou = fit_box_head(head, maps, learned, held_out, stage, seed)
        maps.save()
        save_safely({**head.state_dict(), BOX_IOU: torch.tensor(self.box_iou)}, file)

    def fit_looks(self, shop: Workshop, stage: Stage) -> None:
        """Train how pictures look in the skip path, if it has that; a resumed run reads it."""
        path, file = self._untaught_pictures(), shop.folder / stage.name / FINAL
        if path is None:
            logger.info("no looks are trained: the skip path takes no statistics, or the LLM's gate is open already")
            return
        if file.exists():
            path.load_state_dict(load_file(file))
            return
        source = shop.source.of_pictures()
        self.tokens.fill([View(p.location) for row in source.items for p in source.corpus.item(row).pictures])
        gallery = Gallery(source, self.statistics)
        if not gallery.owners:
            logger.info("no looks are trained: no product has a picture that can be read")
            return
        align_pictures(path, gallery.statistics)
        if source.modalities:
            fit_looks(path, Photos(source, self.statistics, shop.broken), gallery, stage)
        with without_decoder(self._module, self.encoding):
            labels = labels_of([source.corpus.item(row) for row in gallery.owners], self.embed_texts)
        fit_meaning(path, gallery.statistics, labels, source.seed)
        save_safely(path.state_dict(), file)

    def _untaught_pictures(self) -> PicturePath | None:
        """The skip path's part for pictures, if there is one and the LLM does not count yet."""
        return self._module.model.moon_skip.pictures if gate_is_closed(self._module) else None

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of marked texts (texts, width), in the LLM's dimensions."""
        model, beyond = moon_model(self._module).eval(), self._module.moon.picture_dims
        parts = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        features = (self.encoding.features(part, [[] for _ in part]) for part in parts)
        return torch.cat([model(batch)["sentence_embedding"][:, :-beyond] for batch in features])

    def statistics(self, views: Sequence[View]) -> Tensor:
        """The tower's statistics of views, (views, channels). Raises BadInputError for one that cannot be read."""
        return self.stand_in.split(self.tokens(views))[1]

    def applies(self, stage: Stage) -> bool:
        """Whether a stage has anything to do: the skip path is trained alone only while the LLM does not count."""
        if stage.name == "skip" and not gate_is_closed(self._module):
            logger.info("no warm-up of the skip path: there is none, or the LLM's gate is open already")
            return False
        return True

    def prepare(self, stage: Stage, shop: Workshop) -> None:
        """Align the projector before the skip path is trained; measure the LLM's output before its gate opens."""
        if not gate_is_closed(self._module):
            return
        if stage.name == "skip":
            pictures = [View(p.location) for row in shop.source.items for p in shop.source.corpus.item(row).pictures]
            if len(self.tokens.fill(pictures)) < len(pictures):
                maps, _ = self.stand_in.split(self.tokens.known(pictures))
                align_projector(self._module, maps.mean(dim=(2, 3)))
        else:
            collate = TripletCollator(source=shop.source, encoding=self.encoding, broken=shop.broken)
            firsts = range(0, MEASURED_TRIPLETS, MEASURED_AT_ONCE)
            batches = (collate([{"number": n} for n in range(first, first + MEASURED_AT_ONCE)]) for first in firsts)
            standardise_llm(self._module.eval(), (_column(batch, "positive") for batch in batches))

    def prepared(self, stage: Stage) -> list[str]:
        """Names of the parameters that :meth:`prepare` changes."""
        if not gate_is_closed(self._module):
            return []
        parts = ALIGNED if stage.name == "skip" else MEASURED
        return [name for name in self._module.model.state_dict() if any(part in name for part in parts)]


def _column(batch: dict[str, Any], column: str) -> dict[str, Any]:
    prefix = f"{column}_"
    return {name.removeprefix(prefix): value for name, value in batch.items() if name.startswith(prefix)}
