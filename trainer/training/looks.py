"""Teach the skip path how products look, from pictures alone and before any word is seen (our decision).

Photos are to find the pictures of their products among those of all others. On kept statistics of the tower that is a
matrix product per step, and photo search lives on what it learns: taught only together with words, looks give way to
them (docs/experiments.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from transformers import get_cosine_schedule_with_warmup

from app.errors import BadInputError, CatalogError
from app.moon.skip import PicturePath
from trainer.data.views import View
from trainer.training.batches import ATTEMPTS, BrokenPictures
from trainer.training.presets import Stage
from trainer.training.triplets import Triplet, TripletSource

logger = logging.getLogger(__name__)

TEMPERATURE, WEIGHT_DECAY, WARM_UP = 0.05, 0.05, 0.05
GALLERY = 2048
"""Products that the photos of a step are compared with: all of a small catalog."""
AT_ONCE = 32
"""Pictures of the gallery that the tower's statistics are asked for at once."""

Statistics = Callable[[Sequence[View]], Tensor]
"""Views to the tower's statistics of them, (views, channels); raises BadInputError for one that cannot be read."""


class Photos:
    """Draws picture queries from ``source``, which must draw nothing else, as statistics of their views."""

    def __init__(self, source: TripletSource, statistics: Statistics, broken: BrokenPictures) -> None:
        self.source, self.statistics, self._broken = source, statistics, broken

    def draw(self, numbers: range) -> tuple[Tensor, list[int], NDArray[np.int64]]:
        """Statistics of all views (views, channels), the number of views of each query, and rows of right products."""
        drawn = [self.source.draw(number) for number in numbers]
        try:
            seen = self.statistics([view for triplet in drawn for view, _ in triplet.query.views])
        except BadInputError:
            drawn = [self._readable(number) for number in numbers]
            seen = self.statistics([view for triplet in drawn for view, _ in triplet.query.views])
        right = np.array([self.source.corpus.record(triplet.record).positive for triplet in drawn])
        return seen, [len(triplet.query.views) for triplet in drawn], right

    def _readable(self, number: int) -> Triplet:
        for attempt in range(ATTEMPTS):
            triplet = self.source.draw(number, attempt)
            try:
                self.statistics([view for view, _ in triplet.query.views])
            except BadInputError as error:
                self._broken.add(triplet.record, str(error))
            else:
                return triplet
        raise CatalogError(f"{ATTEMPTS} photos in a row cannot be read; check the data with `trainer validate`.")


class Gallery:
    """Statistics of the pictures of the products that ``source`` draws from; products without any are left out.

    ``statistics`` (pictures, channels), ``views`` of these pictures, and ``owners``, the row of each one's product,
    ascending.
    """

    def __init__(self, source: TripletSource, statistics: Statistics) -> None:
        items = source.items.tolist()
        shown = [(row, View(picture.location)) for row in items for picture in source.corpus.item(row).pictures]
        parts = [shown[start : start + AT_ONCE] for start in range(0, len(shown), AT_ONCE)]
        seen = [found for part in parts for found in _readable(part, statistics)]
        self.owners, self.views = [row for row, _, _ in seen], [view for _, view, _ in seen]
        self.statistics = torch.stack([own for *_, own in seen]) if seen else torch.empty(0)
        self._items, self._first, self._counts = np.unique(self.owners, return_index=True, return_counts=True)
        self._keys = source.corpus.item_keys

    def draw(self, right: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of products, ascending, the right ones among them, and the place of a picture of each."""
        items = self._items
        if len(items) > GALLERY:
            items = np.union1d(rng.choice(items, GALLERY, replace=False), right)
        places = np.searchsorted(self._items, items)
        return items, self._first[places] + rng.integers(self._counts[places])

    def same(self, right: NDArray[np.int64], items: NDArray[np.int64]) -> Tensor:
        """Boolean (right, items): another product with the same id or title."""
        equal = right[:, None] == items
        alike = np.zeros_like(equal)
        for name in ("id", "title"):
            keys = self._keys[name]
            alike |= (keys[right][:, None] == keys[items]) & (keys[items] != 0)
        return torch.from_numpy(alike & ~equal)


def _readable(shown: Sequence[tuple[int, View]], statistics: Statistics) -> list[tuple[int, View, Tensor]]:
    """Those pictures with their statistics, but for some that cannot be read."""
    try:
        found = statistics([view for _, view in shown])
    except BadInputError as error:
        if len(shown) > 1:
            return [one for own in shown for one in _readable([own], statistics)]
        logger.warning("no looks are learned from it: %s", error)
        return []
    return [(*own, numbers) for own, numbers in zip(shown, found, strict=True)]


def fit_looks(path: PicturePath, photos: Photos, gallery: Gallery, stage: Stage) -> None:
    """Train ``path.looks`` in place: InfoNCE of photos against a picture of each product, or of ``GALLERY`` of them.

    Products with the id or the title of the right one are no negatives.
    """
    steps = stage.steps or 0
    optimizer = torch.optim.AdamW([path.looks.weight], lr=stage.lr, weight_decay=WEIGHT_DECAY)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(WARM_UP * steps), steps)
    rng = np.random.default_rng(photos.source.seed)
    path.train().looks.requires_grad_(True)
    for step in range(steps):
        views, counts, right = photos.draw(range(step * stage.batch, (step + 1) * stage.batch))
        items, places = gallery.draw(right, rng)
        pictures = gallery.statistics[torch.from_numpy(places)]
        loss, found = contrast(path, views, counts, pictures, right, items, gallery.same(right, items))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            logger.info("looks step %d: loss %.3f, found %.3f of the batch", step, loss.item(), found)
    path.eval()


def contrast(
    path: PicturePath,
    views: Tensor,
    counts: Sequence[int],
    pictures: Tensor,
    right: NDArray[np.int64],
    items: NDArray[np.int64],
    same: Tensor,
) -> tuple[Tensor, float]:
    """InfoNCE of queries against a picture of each of ``items``, and the share of queries that find their product.

    ``views`` (views, channels) and ``pictures`` (items, channels) are statistics, ``counts`` the views of each query,
    ``right`` the rows of their products; those that are the ``same`` (queries, items) are no negatives.
    """
    target = torch.from_numpy(np.searchsorted(items, right))
    scores = _mean_looks(path, views, counts) @ path.seen(pictures).T / TEMPERATURE
    found = (scores.argmax(dim=1) == target).float().mean().item()
    return cross_entropy(scores.masked_fill(same, -torch.inf), target), found


def _mean_looks(path: PicturePath, statistics: Tensor, counts: Sequence[int]) -> Tensor:
    """Unit looks of queries, the mean of their views' unit looks: statistics (views, channels) to (queries, dims)."""
    looks = path.seen(statistics)
    owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return normalize(looks.new_zeros(len(counts), looks.shape[1]).index_add(0, owners, looks), dim=1)
