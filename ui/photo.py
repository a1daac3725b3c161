"""The photo of a search: taken in as a file that nobody decoded yet, and shown back with a frame that can be moved."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from app.errors import BadInputError
from app.images import read_bytes
from app.schema import Box, Product
from app.serving import Service
from app.timing import Stopwatch
from ui.address import Address
from ui.cards import picture
from ui.language import Labels, Language
from ui.markup import go, text
from ui.uploads import uploads_only

log = logging.getLogger(__name__)

PREVIEW_PIXELS = 480
FRAME_HELP = "Frame around the product: arrow keys move it, with Shift they change its size"


def photo_input(label: str, labels: Labels) -> gr.Image:
    """An image input that hands over the path of the uploaded file, undecoded, so that our limits come first.

    A method is replaced on the instance, because Gradio writes a stub file beside modules that subclass a component.
    """
    image = gr.Image(
        label=labels(label),
        type="filepath",
        sources=["upload", "clipboard", "webcam"],
        height=146,
        placeholder=labels("Drop or choose a photo"),
        buttons=[],
        min_width=240,
        alt_text=labels("Your photo"),
        elem_classes="photo-input",
    )
    image.preprocess = _path_of  # type: ignore[method-assign]
    return uploads_only(image)


def _path_of(payload: ImageData | None) -> str | None:
    return payload.path if payload is not None else None


@contextmanager
def open_photo(path: str, service: Service) -> Iterator[Image.Image]:
    """The uploaded photo as upright RGB, among the photos in work as long as the block needs it.

    Raises BadInputError if it is no complete picture within the limits, OverloadedError if there is no room in time.
    """
    if not Path(path).is_file():
        raise BadInputError("Your photo is no longer on the server: upload it again")
    try:
        data = read_bytes(path, max_bytes=service.settings.max_image_bytes)
    except BadInputError as error:  # names where the picture lies, which is not for shoppers
        log.warning("%s", error)
        raise BadInputError("The picture cannot be read on the server; add a photo of the product") from error
    with service.photos.opened(data, "Your photo") as photo:
        yield photo


@contextmanager
def catalog_picture(location: str, service: Service, watch: Stopwatch) -> Iterator[Image.Image | None]:
    """A picture of the catalog as :func:`timed_photo` opens a photo; None if this machine cannot read it.

    Nothing is fetched: the picture is a file here, or the indexer's copy of one on the web. Raises OverloadedError.
    """
    with ExitStack() as held:
        picture = None
        if (data := service.pictures.here(location)) is not None:
            with suppress(BadInputError), watch.stage("decode"):
                picture = held.enter_context(service.photos.opened(data, location))
        yield picture


@contextmanager
def timed_photo(path: str | None, service: Service, watch: Stopwatch) -> Iterator[Image.Image | None]:
    """As :func:`open_photo`, as stage "decode" of ``watch``; None without a photo."""
    if path is None:
        yield None
        return
    with ExitStack() as held:
        with watch.stage("decode"):
            photo = held.enter_context(open_photo(path, service))
        yield photo


def framed(photo: Image.Image, found: Box | None, address: Address) -> str:
    """A small copy of the photo with a frame around what is searched for, ``found`` in pixels; None is all of it.

    frame.js lets the shopper move the frame, change its size or draw another one, and search.js puts it into the
    address; for a photo that it did not show yet, frame.js asks for :func:`outlines`.
    """
    small = photo.copy()
    small.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    frame = _placed(found or (0, 0, photo.width, photo.height), photo)
    corners = "".join(f'<span data-corner="{corner}"></span>' for corner in ("nw", "ne", "sw", "se"))
    say = address.say
    choices = [
        ("Product", address.framed(None), address.box is None),
        ("Whole photo", address.whole(), address.box == address.whole().box),
    ]
    buttons = "".join(
        f'<button type="button" class="choice" aria-pressed="{str(chosen).lower()}" {go(to)}>{say(label)}</button>'
        for label, to, chosen in choices
    )
    return (
        f'<figure class="framed" data-photo="{photo_key(photo)}" data-address="{text(address)}">'
        f'<div class="photo"><img src="{thumbnail(small)}" '
        f'alt="{say("The photo you search with")}" width="{small.width}" height="{small.height}" draggable="false">'
        f'<button type="button" class="frame" style="{frame}" aria-label="{say(FRAME_HELP)}">{corners}</button></div>'
        f"<figcaption>{buttons}{_remove(address)}</figcaption></figure>"
    )


def liked(product: Product, address: Address) -> str:
    """A product that is searched like by its stored vector: its picture as the browser gets it, with no frame."""
    shown = picture(product, address.say, lazy=False)
    return f'<figure class="framed">{shown}<figcaption>{_remove(address)}</figcaption></figure>'


def _remove(address: Address) -> str:
    say = address.say
    return (
        f'<button type="button" class="choice" {go(address.without_photo())} '
        f'aria-label="{say("Remove photo")}">{say("Remove")}</button>'
    )


def outlines(key: str, photo: Image.Image, boxes: Sequence[Box], say: Language) -> str:
    """Buttons that lie on the photo of :func:`framed`, one on each product; frame.js searches with the clicked one.

    ``key`` is the :func:`photo_key` of the photo, ``boxes`` are in pixels of ``photo``, which may be smaller.
    """
    buttons = "".join(
        f'<button type="button" class="outline" style="{_placed(box, photo)}" '
        f'aria-label="{say("Search for product {number} in the photo", number=number)}"></button>'
        for number, box in enumerate(boxes, start=1)
    )
    return f'<div data-photo="{key}">{buttons}</div>'


def photo_key(photo: Image.Image) -> str:
    """What tells a photo from others on the page."""
    return hashlib.blake2b(photo.resize((64, 64), Image.Resampling.NEAREST).tobytes(), digest_size=8).hexdigest()


def _placed(box: Box, photo: Image.Image) -> str:
    """CSS of an element on the photo where the box is, in pixels of the photo."""
    x0, y0, x1, y1 = box
    left, top, width, height = x0 / photo.width, y0 / photo.height, (x1 - x0) / photo.width, (y1 - y0) / photo.height
    return f"left:{left:.2%};top:{top:.2%};width:{width:.2%};height:{height:.2%}"


def in_pixels(box: Box | None, photo: Image.Image) -> Box | None:
    """A box in parts of the photo (0 to 1) as one in its pixels."""
    if box is None:
        return None
    return box[0] * photo.width, box[1] * photo.height, box[2] * photo.width, box[3] * photo.height


def thumbnail(picture: Image.Image) -> str:
    """The picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
