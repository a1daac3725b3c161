"""Core product detectors and the reading of grounding answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_models import picture, upcycle
from transformers import BatchFeature

from app.errors import ModelError
from app.moon.detect import DatasetBoxes, LearnedDetector, NoDetector, SaliencyDetector, salient_box
from app.moon.grounding import GroundingDetector, parse_box, to_pixels

BOX = (10.0, 20.0, 110.0, 220.0)


@pytest.mark.parametrize(
    "answer",
    [
        '```json\n[{"bbox_2d": [10, 20, 110, 220], "label": "chair"}]\n```',
        "```\n[10, 20, 110, 220]\n```",
        'Here it is: ```json\n{"bbox_2d": [10, 20, 110, 220]}``` Enjoy!',
        '[{"bbox_2d": [10, 20, 110, 220], "label": "chair"}]',
        '{"bbox": [10.0, 20.0, 110.0, 220.0]}',
        "[{'bbox_2d': (10, 20, 110, 220), 'label': 'chair'}]",
        "[[10, 20, 110, 220], [1, 2, 3, 4]]",
        "[[[10, 20, 110, 220]]]",
        '[{"label": "none"}, {"bbox_2d": [10, 20, 110, 220]}]',
        "10, 20, 110, 220",
        "(10,20),(110,220)",
        'The box is [{"bbox_2d": [10, 20, 110, 220], "label": "cut o',
        '{"point_2d": "x", "bbox_2d": [10, 20, 110, 220',
    ],
)
def test_answers_are_read(answer: str):
    assert parse_box(answer) == BOX


@pytest.mark.parametrize("answer", ["", "no product", "[]", "{}", "null", "[1, 2, 3]", "[true, false, true, true]"])
def test_answers_without_a_box_are_none(answer: str):
    assert parse_box(answer) is None


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.sampled_from(["bbox_2d", "bbox", "a"]), inner)),
)


@given(st.one_of(st.text(), json_like.map(repr), json_like.map(json.dumps)))
@example("[" * 5000)
@example("[" * 400 + "1,2,3,4" + "]" * 400)
@example("[1" + "0" * 400 + ", 2, 3, 4]")
@example("{[]: 1}")
@example("1e999 1e999 1 1")
def test_parser_never_raises(answer: str):
    box = parse_box(answer)
    assert box is None or (len(box) == 4 and all(isinstance(side, float) for side in box))


def test_pixel_convention_speaks_of_the_resized_picture():
    assert to_pixels((28, 56, 140, 280), (1000, 500), "pixels", (280, 560)) == (50.0, 100.0, 250.0, 500.0)


def test_thousandths_convention_is_relative_to_either_side():
    assert to_pixels((100, 200, 500, 1000), (2000, 500), "thousandths", (280, 560)) == (200.0, 100.0, 1000.0, 500.0)


class WritingModel:
    """Generates fixed answers, as a grounding model would."""

    device = torch.device("cpu")

    def __init__(self, kind: str, *answers: str) -> None:
        self.config = SimpleNamespace(model_type=kind, vision_config=SimpleNamespace(patch_size=14))
        self.answers = list(answers)

    def generate(self, input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        assert options["do_sample"] is False
        written = torch.tensor([[ord(letter) for letter in self.answers.pop(0)]])
        return torch.cat([input_ids, written], dim=1)


class ReadingProcessor:
    """Shows what was asked; pictures become a grid of 20 x 40 patches."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def apply_chat_template(self, messages: list[dict], **options: Any) -> BatchFeature:
        self.asked.append(messages[0]["content"][1]["text"])
        return BatchFeature({"input_ids": torch.tensor([[1, 2, 3]]), "image_grid_thw": torch.tensor([[1, 20, 40]])})

    def batch_decode(self, ids: torch.Tensor, **options: Any) -> list[str]:
        return ["".join(chr(token) for token in row) for row in ids.tolist()]


PHOTO = picture(1, (1120, 280))


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("qwen2_5_vl", "[[100, 100, 200, 200]]"), ("qwen3_vl", '[{"bbox_2d": [178.5714, 357.1428, 357.1429, 714.2857]}]')],
)
def test_grounding_answers_in_the_pictures_own_pixels(kind: str, answer: str):
    processor = ReadingProcessor()
    (box,) = GroundingDetector(WritingModel(kind, answer), processor).detect([PHOTO], ["Red <|im_end|> chair"])
    assert box == pytest.approx((190, 95, 410, 205), abs=0.01)
    assert '"Red chair"' in processor.asked[0]
    assert "bbox_2d" in processor.asked[0]


def test_unreadable_answers_give_no_crop_and_are_counted():
    detector = GroundingDetector(WritingModel("qwen2_5_vl", "sorry", "[100, 100, 200, 200]"), ReadingProcessor())
    boxes = detector.detect([PHOTO, picture(2, (1120, 280))], ["", ""])
    assert boxes[0] is None
    assert boxes[1] is not None
    assert (detector.asked, detector.unreadable) == (2, 1)


def test_the_same_picture_and_title_are_asked_once():
    detector = GroundingDetector(WritingModel("qwen2_5_vl", "[100, 100, 200, 200]", "none"), ReadingProcessor())
    first = detector.detect([PHOTO], ["chair"])
    assert detector.detect([PHOTO.copy()], ["chair"]) == first
    assert detector.asked == 1
    assert detector.detect([PHOTO], ["table"]) == [None]


def test_a_model_that_cannot_ground_is_refused():
    with pytest.raises(ModelError, match="qwen2_5_vl"):
        GroundingDetector(WritingModel("llava"), ReadingProcessor())


def test_a_missing_grounding_model_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="grounding model cannot be loaded"):
        GroundingDetector.from_pretrained(str(tmp_path), "cpu")


def test_no_detector_never_crops():
    assert NoDetector().detect([PHOTO, PHOTO], ["", ""]) == [None, None]


def test_dataset_boxes_are_found_by_pixels_and_made_safe():
    known, tiny = picture(3, (100, 100)), picture(4, (100, 100))
    detector = DatasetBoxes([(known, (60, 60, 20, 20)), (tiny, (0, 0, 2, 2))])
    assert detector.detect([known.copy(), tiny, picture(5)], ["", "", ""]) == [(18, 18, 62, 62), None, None]


def test_learned_detector_answers_in_pixels(fast_base: Path):
    module = upcycle(fast_base, box_head=True)
    module.model.moon_box_head.forward = lambda maps: torch.tensor([[0.2, 0.2, 0.6, 0.6], [0.0, 0.0, 1.0, 1.0]])
    boxes = LearnedDetector(module).detect([picture(1, (100, 50)), picture(2)], ["", ""])
    assert boxes[0] == pytest.approx((18, 9, 62, 31))
    assert boxes[1] is None


def test_untrained_box_head_gives_usable_boxes(fast_base: Path):
    images = [picture(n, (40 + 20 * n, 90)) for n in range(3)]
    for box, image in zip(
        LearnedDetector(upcycle(fast_base, box_head=True)).detect(images, [""] * 3), images, strict=True
    ):
        assert box is None or (0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height)


@pytest.mark.parametrize("size", [(80, 60), (30, 200)])
def test_saliency_works_on_every_architecture(base: Path, size: tuple[int, int]):
    (box,) = SaliencyDetector(upcycle(base)).detect([picture(1, size)], [""])
    assert box is None or (0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1])


def test_saliency_refuses_tokens_that_form_no_grid(base_of: Callable[[str], Path]):
    module = upcycle(base_of("fastvlm"))
    with pytest.raises(ModelError, match="MOON_DETECTOR"):
        SaliencyDetector(module)._grid({}, 5)


def agreement(*marked: tuple[int, int], high: float = 1.0) -> torch.Tensor:
    values = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) * 0.1
    for row, column in marked:
        values[row, column] += high
    return values


BLOCK = ((1, 2), (1, 3), (2, 2), (2, 3))


def test_salient_box_surrounds_the_patch_of_high_agreement():
    assert salient_box(agreement(*BLOCK), (600, 600)) == pytest.approx((190, 90, 410, 310))


def test_a_distant_speck_does_not_stretch_the_box():
    values = agreement(*BLOCK, (5, 0))
    values[5, 0] -= 0.2
    assert salient_box(values, (600, 600)) == pytest.approx((190, 90, 410, 310))


def test_one_odd_token_does_not_open_the_box():
    values = agreement(*BLOCK)
    values[5, 5] = -0.6
    assert salient_box(values, (600, 600)) == pytest.approx((190, 90, 410, 310))


def test_a_map_without_contrast_gives_no_box():
    assert salient_box(torch.ones(4, 4), (100, 100)) is None
    assert salient_box(torch.ones(1, 1), (100, 100)) is None
