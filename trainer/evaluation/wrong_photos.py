"""Customer photos that a model answers with a product of another model: a list with ids, and a sheet to look at."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from app.schema import Box, Product
from trainer.data.home import Photo
from trainer.evaluation.metrics import Rankings

SHOWN = 10
SHEET = "wrong-photos.webp"
SIDE, GAP, COLUMNS = 176, 8, 2
"""Pixels of a picture's side and between things; examples side by side."""
FONT_SIZE, LINE, LINES = 14, 17, 3
QUALITY = 80
"""Of WebP: ten examples of the home-goods set take 80 kB."""
BOX_COLOUR, RIGHT_COLOUR, WRONG_COLOUR = "#e6007e", "#1a7f37", "#c62828"


@dataclass(frozen=True)
class WrongPhoto:
    """A photo by its path in the set, its true box in pixels, the product in it, and the one that was found."""

    photo: str
    box: Box
    product_id: str
    found_id: str


def wrong_photos(
    photos: Sequence[Photo],
    rankings: Rankings,
    right: Sequence[Collection[int]],
    products: Sequence[Product],
    shown: int = SHOWN,
) -> list[WrongPhoto]:
    """At most ``shown`` photos whose first product is not ``right``, spread evenly over all of them in their order.

    ``rankings`` (photos, depth) and ``right`` hold rows of ``products``. Nobody chooses which are shown (our decision).
    """
    wrong = [row for row, wanted in enumerate(right) if rankings[row, 0] not in wanted]
    places = np.linspace(0, len(wrong) - 1, min(shown, len(wrong))).round().astype(int)
    return [
        WrongPhoto(photo.path, photo.box, photo.product_id, products[rankings[row, 0]].id)
        for row, photo in ((wrong[place], photos[wrong[place]]) for place in places)
    ]


def contact_sheet(
    examples: Sequence[WrongPhoto], products: Sequence[Product], read: Callable[[str], Image.Image]
) -> bytes:
    """A WebP picture: each photo with its box, the product in it, and the product found, with their titles.

    ``read`` opens a picture by its path in the set. Raises ValueError without examples.
    """
    if not examples:
        raise ValueError("there are no examples to show")
    known = {product.id: product for product in products}
    panels = [_panel(example, known[example.product_id], known[example.found_id], read) for example in examples]
    width, height = panels[0].size
    rows = -(-len(panels) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + 2 * GAP), rows * (height + GAP) + GAP), "white")
    for place, panel in enumerate(panels):
        row, column = divmod(place, COLUMNS)
        sheet.paste(panel, (column * (width + 2 * GAP) + GAP, row * (height + GAP) + GAP))
    data = io.BytesIO()
    sheet.save(data, "WEBP", quality=QUALITY, method=6)
    return data.getvalue()


def _panel(example: WrongPhoto, right: Product, found: Product, read: Callable[[str], Image.Image]) -> Image.Image:
    photo = read(example.photo)
    ImageDraw.Draw(photo).rectangle(example.box, outline=BOX_COLOUR, width=max(2, photo.width // 100))
    cells = [
        (photo, "photo, true box", "black"),
        (_main_picture(right, read), f"right: {right.title}", RIGHT_COLOUR),
        (_main_picture(found, read), f"found: {found.title}", WRONG_COLOUR),
    ]
    panel = Image.new("RGB", (len(cells) * (SIDE + GAP) - GAP, SIDE + LINES * LINE + GAP), "white")
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(FONT_SIZE)
    for place, (image, caption, colour) in enumerate(cells):
        left = place * (SIDE + GAP)
        panel.paste(ImageOps.pad(image, (SIDE, SIDE), color="white"), (left, 0))
        for number, line in enumerate(caption_lines(caption, font)):
            draw.text((left, SIDE + 2 + number * LINE), line, fill=colour, font=font)
    return panel


def _main_picture(product: Product, read: Callable[[str], Image.Image]) -> Image.Image:
    return read(product.images[0]) if product.images else Image.new("RGB", (SIDE, SIDE), "lightgrey")


def caption_lines(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int = SIDE) -> list[str]:
    """Words in at most ``LINES`` lines of ``width`` pixels; what does not fit ends with dots."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"{lines[LINES - 1]} …"]
    return [_shortened(line, font, width) for line in lines]


def _shortened(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    end = len(line)
    while end and font.getlength(f"{line[:end]}…") > width:
        end -= 1
    return f"{line[:end]}…"
