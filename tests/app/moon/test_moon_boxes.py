"""Box arithmetic, the box head, and safety of detected boxes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from app.moon.boxes import BoxHead, box_loss, iou
from app.moon.crops import cropped, usable_box
from app.moon.detect import has_plain_ground

side = st.floats(-500, 1500, allow_nan=False)
size = st.floats(1, 1000)


@given(st.tuples(side, side, side, side), size, size)
def test_usable_boxes_lie_inside_the_picture_and_have_an_area(box, width, height):
    found = usable_box(box, width, height)
    if found is not None:
        x0, y0, x1, y1 = found
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


@given(st.tuples(side, side, side, side), size, size)
def test_the_order_of_corners_does_not_matter(box, width, height):
    x0, y0, x1, y1 = box
    assert usable_box((x1, y1, x0, y0), width, height) == usable_box(box, width, height)


@given(st.tuples(side, side, side, side))
def test_share_of_the_picture_decides_whether_to_crop(box):
    x0, x1 = sorted(min(max(v, 0), 100) for v in (box[0], box[2]))
    y0, y1 = sorted(min(max(v, 0), 100) for v in (box[1], box[3]))
    share = (x1 - x0) * (y1 - y0) / 1e4
    assume(abs(share - 0.01) > 1e-9 and abs(share - 0.95) > 1e-9)
    assert (usable_box(box, 100, 100) is not None) == (0.01 < share < 0.95)


def test_boxes_are_padded_by_five_percent_of_their_sides_within_the_picture():
    assert usable_box((20, 40, 60, 60), 100, 100) == (18, 39, 62, 61)
    assert usable_box((0, 0, 50, 50), 100, 100) == (0, 0, 52.5, 52.5)


@pytest.mark.parametrize("box", [(0, 0, 9, 9), (0, 0, 100, 96), (50, 50, 50, 80), (200, 200, 300, 300)])
def test_too_small_too_large_and_outside_boxes_give_no_crop(box):
    assert usable_box(box, 100, 100) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_never_become_a_side(bad):
    found = usable_box((10, 10, bad, 60), 100, 100)
    assert found is None or all(0 <= v <= 100 for v in found)


def plain_iou(a: list[float], b: list[float]) -> tuple[float, float, float]:
    """Intersection over union, union, hull; written out for one pair."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return width * height / union, union, hull


def random_boxes(seed: int) -> torch.Tensor:
    points = torch.rand(32, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(dim=1).values
    return points.reshape(32, 4)


def test_iou_and_loss_match_plain_references():
    a, b = random_boxes(0), random_boxes(1)
    expected_iou, expected_loss = [], []
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        overlap, union, hull = plain_iou(x, y)
        expected_iou.append(overlap)
        l1 = sum(abs(p - q) for p, q in zip(x, y, strict=True))
        expected_loss.append(l1 + 1 - (overlap - (hull - union) / hull))
    torch.testing.assert_close(iou(a, b), torch.tensor(expected_iou))
    torch.testing.assert_close(box_loss(a, b), torch.tensor(expected_loss).mean())


def test_loss_is_zero_at_the_target_and_pulls_distant_boxes_closer():
    target = torch.tensor([[0.1, 0.1, 0.4, 0.4]])
    assert box_loss(target, target).item() == pytest.approx(0.0, abs=1e-6)
    far = torch.tensor([[0.6, 0.6, 0.9, 0.9]], requires_grad=True)
    box_loss(far, target).backward()
    assert (far.grad > 0).all()


@pytest.mark.parametrize("shape", [(1, 8, 7, 7), (3, 8, 2, 5)])
def test_box_head_answers_ordered_boxes_inside_the_picture(shape):
    torch.manual_seed(0)
    head = BoxHead(8, width=16)
    boxes = head(torch.randn(shape) * 30)
    assert boxes.shape == (shape[0], 4)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, :2] <= boxes[:, 2:]).all()


def test_box_head_learns_where_a_bright_cell_lies():
    torch.manual_seed(0)
    head = BoxHead(4, width=16)
    maps = torch.zeros(49, 4, 7, 7)
    cells = torch.arange(49)
    maps[cells, 0, cells // 7, cells % 7] = 5.0
    centre = torch.stack([cells % 7, cells // 7], dim=1) / 7
    target = torch.cat([centre, centre + 1 / 7], dim=1)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        box_loss(head(maps), target).backward()
        optimizer.step()
    assert iou(head(maps), target).mean() > 0.7


def test_packshots_have_a_plain_ground_and_photos_do_not():
    packshot = Image.new("RGB", (200, 300), "white")
    packshot.paste((120, 20, 20), (50, 50, 150, 250))
    room = packshot.copy()
    room.paste((120, 110, 90), (0, 250, 200, 300))
    assert has_plain_ground(packshot)
    assert not has_plain_ground(room)
    assert not has_plain_ground(Image.new("RGB", (40, 40), (230, 230, 230)))


def test_a_box_thinner_than_a_pixel_leaves_one():
    image = Image.new("RGB", (40, 40))
    assert cropped(image, (10.1, 3.4, 10.3, 20.6)).size == (1, 18)
    assert cropped(image, (0.0, 0.0, 39.6, 20.0)).size == (40, 20)
