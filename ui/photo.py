"""The shopper's photo: taken in as a file that nobody decoded yet, and shown back with the product that was found."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from app.errors import BadInputError
from app.images import decode_image, read_bytes
from app.schema import Box
from app.settings import Settings

PREVIEW_PIXELS = 400


def photo_input(label: str) -> gr.Image:
    """An image input that hands over the path of the uploaded file, undecoded, so that our limits come first.

    Nothing is ever fetched for it: a path that is a URL is refused. Two methods are replaced on the instance, because
    Gradio writes a stub file beside every module that subclasses a component.
    """
    image = gr.Image(
        label=label,
        type="filepath",
        sources=["upload", "clipboard", "webcam"],
        height=146,
        placeholder="Drop or choose a photo",
        buttons=[],
        min_width=240,
        alt_text="Your photo",
        elem_classes="photo-input",
    )
    keep = image.async_move_resource_to_block_cache

    async def keep_upload(url_or_file_path: str | Path | None) -> str | None:
        if url_or_file_path is not None and "://" in str(url_or_file_path):
            raise gr.Error("A photo is uploaded, not fetched from an address.", print_exception=False)
        return await keep(url_or_file_path)

    image.preprocess = _path_of  # type: ignore[method-assign]
    image.async_move_resource_to_block_cache = keep_upload  # type: ignore[method-assign]
    return image


def _path_of(payload: ImageData | None) -> str | None:
    return payload.path if payload is not None else None


def open_photo(path: str, settings: Settings) -> Image.Image:
    """The uploaded photo as upright RGB. Raises BadInputError if it is no complete picture within the limits."""
    if not Path(path).is_file():
        raise BadInputError("Your photo is no longer on the server: upload it again")
    data = read_bytes(path, max_bytes=settings.max_image_bytes)
    return decode_image(
        data, name="Your photo", max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels
    )


def preview(photo: Image.Image, box: Box) -> str:
    """A small copy of the photo with a frame around the core product, as HTML that needs no further file."""
    small = photo.copy()
    small.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    left, top = box[0] / photo.width, box[1] / photo.height
    width, height = (box[2] - box[0]) / photo.width, (box[3] - box[1]) / photo.height
    frame = f"left:{left:.2%};top:{top:.2%};width:{width:.2%};height:{height:.2%}"
    return (
        f'<span class="photo"><img src="{thumbnail(small)}" alt="Your photo with a frame around the product">'
        f'<span class="frame" style="{frame}"></span></span>'
    )


def thumbnail(picture: Image.Image) -> str:
    """The picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
