"""Tune the upper stages of the starter's vision tower on photos (our decision).

ImageNet taught the tower what things are, not which of a thousand lamps this is, nor to look past the room around it.
Photos are to find the pictures of their products; all below the upper stages stays as it is, so that its maps are
computed once per view. On folds held out of the training designs, photo recall rose by four points
(docs/experiments.md).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from app.moon.skip import PicturePath
from app.moon.tower import EfficientNetLiteModel, map_statistics
from trainer.data.views import View
from trainer.training.features import LowerMaps
from trainer.training.looks import WARM_UP, WEIGHT_DECAY, Gallery, Photos, contrast
from trainer.training.presets import Stage

logger = logging.getLogger(__name__)

LOOKS_LR = 1e-3
"""Learning rate of the looks that are trained beside the tower, and thrown away: stage ``looks`` teaches them anew."""
TOWER_DECAY = 1e-4


class TunedTower:
    """A tower's statistics of views from :class:`LowerMaps`."""

    def __init__(self, tower: EfficientNetLiteModel, maps: LowerMaps) -> None:
        self.tower, self.maps = tower, maps

    @torch.no_grad()
    def look(self, views: Sequence[View]) -> Tensor:
        """Statistics (views, channels) as of now; raises BadInputError for a picture that cannot be read."""
        return self.statistics(self.maps(views))

    def statistics(self, kept: Tensor) -> Tensor:
        """Rows of ``maps`` (views, numbers) to statistics (views, channels), with a gradient for the upper stages.

        Those of the head's map are among them, so that the head learns, too, what its visual tokens are to tell.
        """
        maps, below = self.maps.split(kept)
        last, above = self.tower.upper(maps)
        return torch.cat([below, above, map_statistics(last)], dim=1)

    def mirrored(self, kept: Tensor) -> Tensor:
        """The rows, half of them as if the pictures had been mirrored; statistics of lower maps stay as they are."""
        maps, below = self.maps.split(kept)
        turned = torch.rand(len(maps)) < 0.5
        return torch.cat([torch.where(turned[:, None, None, None], maps.flip(3), maps).flatten(1), below], dim=1)


def fit_tower(tuned: TunedTower, path: PicturePath, photos: Photos, gallery: Gallery, stage: Stage) -> float:
    """Train the upper stages in place, and ``path.looks`` beside them: InfoNCE as in :mod:`trainer.training.looks`.

    ``photos`` draw rows of ``tuned.maps``. Pictures of right products are seen anew in each step, those of others as
    they were seen last: the tower changes slowly. Returns the loss of the last batch.
    """
    steps, loss = stage.steps or 0, torch.tensor(0.0)
    upper = tuned.tower.upper_parts().requires_grad_(True)
    groups = [
        {"params": [path.looks.weight], "lr": LOOKS_LR, "weight_decay": WEIGHT_DECAY},
        {"params": list(upper.parameters()), "lr": stage.lr, "weight_decay": TOWER_DECAY},
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(WARM_UP * steps), steps)
    rng = np.random.default_rng(photos.source.seed)
    path.train().looks.requires_grad_(True)
    for step in range(steps):
        views, counts, right = photos.draw(range(step * stage.batch, (step + 1) * stage.batch))
        items, places = gallery.draw(right, rng)
        shown = np.unique(np.searchsorted(items, right))
        rows = tuned.maps([gallery.views[place] for place in places[shown]])
        fresh = tuned.statistics(tuned.mirrored(rows))
        pictures = gallery.statistics[torch.from_numpy(places)].index_copy(0, torch.from_numpy(shown), fresh)
        queries = tuned.statistics(tuned.mirrored(views))
        loss, found = contrast(path, queries, counts, pictures, right, items, gallery.same(right, items))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        gallery.statistics[torch.from_numpy(places[shown])] = fresh.detach()
        if step % 20 == 0 or step == steps - 1:
            logger.info("tower step %d: loss %.3f, found %.3f of the batch", step, loss.item(), found)
    upper.requires_grad_(False)
    path.eval()
    return loss.item()
