from __future__ import annotations

import logging

import pytest
import torch
from PIL import Image, ImageDraw

from app.errors import BadInputError
from app.moon.boxes import BoxHead
from trainer.data.pictures import ORIGINAL_SIZE
from trainer.data.record import Picture
from trainer.data.splits import training_rows
from trainer.data.views import VARIANTS, View
from trainer.training.detector import boxed_pictures, fit_box_head, mean_iou, targets_of
from trainer.training.presets import Stage

BOX = (40.0, 30.0, 120.0, 90.0)


def scene(location: str) -> Image.Image:
    """A black box on white."""
    image = Image.new("RGB", (200, 160), "white")
    ImageDraw.Draw(image).rectangle((40, 30, 119, 89), fill="black")
    return image


def black(image: Image.Image) -> tuple[float, ...]:
    """Where the black box is, in shares of the picture."""
    x0, y0, x1, y1 = image.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
    return x0 / image.width, y0 / image.height, x1 / image.width, y1 / image.height


def test_pictures_with_a_box_are_found_once_each_in_the_order_of_the_records(corpus, home):
    split = training_rows(corpus)
    pictures = boxed_pictures(corpus, split.train)
    wanted = [p for p in home.photos if p.split == "train" and not p.shows_test_model]
    assert [picture.location for picture in pictures] == [str((home.root / photo.path).absolute()) for photo in wanted]
    assert pictures[0].box == tuple(map(float, wanted[0].box))


def test_targets_are_where_the_box_lies_in_every_view():
    targets = targets_of([Picture("a.jpg", BOX)], scene, frames=True)
    assert [view.cut for view, _ in targets] == ["whole"] + ["frame"] * VARIANTS
    for view, box in targets:
        assert box == pytest.approx(black(view.show(scene)), abs=0.02)
    assert [view for view, _ in targets_of([Picture("a.jpg", BOX)], scene, frames=False)] == [View("a.jpg")]


def test_scenes_are_targets_with_their_own_box():
    room = Picture("room.jpg", (20.0, 20.0, 60.0, 60.0))

    def read(location: str) -> Image.Image:
        return Image.new("RGB", (300, 300), "khaki") if location == "room.jpg" else scene(location)

    views = [View("a.jpg", variant=variant, room=room) for variant in range(4)]
    targets = targets_of([], read, frames=True, scenes=views)
    assert [view for view, _ in targets] == views
    for view, box in targets:
        assert box == pytest.approx(black(view.show(read)), abs=0.03)
    assert targets_of([], read, frames=True, scenes=[View("room.jpg", room=room)]) == []


def test_targets_are_right_for_pictures_that_were_read_smaller():
    def read(location: str) -> Image.Image:
        image = scene(location).resize((100, 80))
        image.info[ORIGINAL_SIZE] = (200, 160)
        return image

    whole, small = (targets_of([Picture("a.jpg", BOX)], reader, frames=True) for reader in (scene, read))
    for (view, box), (other, smaller) in zip(whole, small, strict=True):
        assert view == other
        assert smaller == pytest.approx(box)


def test_a_box_beyond_the_picture_ends_at_its_edge():
    [(_, box)] = targets_of([Picture("a.jpg", (100.0, 80.0, 500.0, 500.0))], scene, frames=False)
    assert box == (0.5, 0.5, 1.0, 1.0)


def test_a_picture_that_cannot_be_read_is_left_out_with_a_warning(caplog):
    def read(location: str) -> Image.Image:
        if location == "gone.jpg":
            raise BadInputError("gone.jpg: no picture")
        return scene(location)

    with caplog.at_level(logging.WARNING):
        targets = targets_of([Picture("gone.jpg", BOX), Picture("a.jpg", BOX)], read, frames=False)
    assert [view.location for view, _ in targets] == ["a.jpg"]
    assert "gone.jpg: no picture" in caplog.text


class Maps:
    """Feature maps that show the box: one channel inside, one outside."""

    def __init__(self, boxes: dict[View, tuple[float, ...]]) -> None:
        self.boxes = boxes

    def __call__(self, views):
        maps = torch.zeros(len(views), 8, 7, 7)
        centres = (torch.arange(7) + 0.5) / 7
        for row, view in enumerate(views):
            x0, y0, x1, y1 = self.boxes[view]
            inside = ((centres > y0) & (centres < y1))[:, None] & ((centres > x0) & (centres < x1))
            maps[row, 0], maps[row, 1] = inside.float(), 1 - inside.float()
        return maps


def random_targets(count: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for number in range(count):
        x, y, w, h = torch.rand(4, generator=generator).tolist()
        x0, y0 = 0.5 * x, 0.5 * y
        targets.append((View(f"{seed}-{number}.jpg"), (x0, y0, x0 + 0.3 + 0.2 * w, y0 + 0.3 + 0.2 * h)))
    return targets


def test_the_box_head_learns_boxes_that_it_has_not_seen():
    torch.manual_seed(0)
    train, dev = random_targets(64, 0), random_targets(32, 1)
    head, maps = BoxHead(8, width=32), Maps(dict(train + dev))
    before = mean_iou(head, maps, dev)
    after = fit_box_head(head, maps, train, dev, Stage("boxes", 120, 32, 3e-3), seed=0)
    assert after > max(0.6, before + 0.2)
    assert after == mean_iou(head, maps, dev)
    assert not head.training


def test_without_development_boxes_there_is_no_iou():
    assert torch.tensor(mean_iou(BoxHead(8), Maps({}), [])).isnan()


def test_measuring_leaves_the_heads_mode():
    targets = random_targets(3, 0)
    head = BoxHead(8).train()
    mean_iou(head, Maps(dict(targets)), targets)
    assert head.training
