"""Pictures are made small before they become arrays: the same pixels, in half the time for a phone's photo."""

from __future__ import annotations

from typing import Any

from PIL import Image
from transformers.image_processing_backends import PilBackend


def shrink_first(processor: Any) -> None:
    """Have an image processor resize a picture as Pillow holds it (our decision).

    It would turn all of its pixels into an array, reorder them, and turn them back into a picture to resize that.
    Processors that do more than resize to one fixed size are left as they are.
    """
    plain = all(
        getattr(type(processor), step, None) is getattr(PilBackend, step)
        for step in ("process_image", "resize", "_preprocess")
    )
    if not plain or not processor.do_resize or not (processor.size.height and processor.size.width):
        return
    process = processor.process_image
    size, resample = (processor.size.width, processor.size.height), processor.resample

    def process_small(image: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(image, Image.Image) and image.mode == "RGB":
            image = image.resize(size, resample)
        return process(image, *args, **kwargs)

    processor.process_image = process_small
