"""Shrinking first changes how long a picture takes, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import picture
from transformers import CLIPImageProcessorPil, Idefics3ImageProcessorPil, Qwen2VLImageProcessorPil

from app.moon.shrink import shrink_first

FIXED = {"size": {"height": 64, "width": 48}, "do_convert_rgb": True}


@pytest.mark.parametrize("cropped", [False, True])
def test_pixels_stay_the_same(cropped):
    pictures = [picture(0, (300, 200)), picture(1, (30, 90)), picture(2, (48, 64)), picture(3).convert("L")]
    crop = {"do_center_crop": cropped, "crop_size": {"height": 32, "width": 32}}
    processor = CLIPImageProcessorPil(**FIXED, **crop)
    expected = np.stack(processor(pictures)["pixel_values"])
    shrink_first(processor)
    np.testing.assert_array_equal(np.stack(processor(pictures)["pixel_values"]), expected)


def test_a_picture_is_resized_before_it_is_an_array():
    processor = CLIPImageProcessorPil(**FIXED, do_center_crop=False)
    shrink_first(processor)
    assert processor.process_image(picture(0, (300, 200)), do_convert_rgb=True).shape == (3, 64, 48)


@pytest.mark.parametrize(
    "processor",
    [
        CLIPImageProcessorPil(size={"shortest_edge": 64}),
        CLIPImageProcessorPil(**FIXED, do_resize=False),
        Idefics3ImageProcessorPil(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}),
        Qwen2VLImageProcessorPil(patch_size=14, merge_size=2),
    ],
)
def test_processors_that_do_more_are_left_as_they_are(processor):
    shrink_first(processor)
    assert "process_image" not in vars(processor)
