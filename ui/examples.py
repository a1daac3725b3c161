"""Searches that work at one click, shown while the demo catalog is the published one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from app.errors import BadInputError
from app.settings import ROOT
from ui.address import Address
from ui.markup import go, text
from ui.photo import thumbnail

DEMO = ROOT / "demo"
_THUMBNAIL_PIXELS = 112


@dataclass(frozen=True)
class Example:
    """A search by text, by a photo of demo/photos, or by both."""

    text: str = ""
    photo: str | None = None

    @property
    def path(self) -> Path | None:
        return DEMO / "photos" / f"{self.photo}.webp" if self.photo else None


EXAMPLES = (
    Example("green armchair"),
    Example("wooden bookcase"),
    Example("garden bench"),
    Example(photo="scopia-modern-armchair-c1_p0"),
    Example(photo="bs0-teddybear-c2_p0"),
    Example(photo="bs0-plasticchair-c1_p0"),
    Example("same bed but in pink", "bs0-bed2-c0_p0"),
    Example("same table but in white", "bsby-table-c0_p0"),
)


def examples_for(catalog: str) -> list[Example]:
    """The examples that can be searched in this catalog: all for the demo catalog, none for others."""
    if Path(catalog).resolve() != DEMO / "catalog.parquet":
        return []
    return [example for example in EXAMPLES if example.path is None or example.path.is_file()]


def photo_of(name: str) -> Path:
    """The photo of the example with this name. Raises BadInputError for any other name."""
    for example in EXAMPLES:
        if example.path is not None and example.photo == name:
            return example.path
    raise BadInputError("the photo in this address is unknown; add a photo of your own")


def buttons(examples: Sequence[Example], address: Address) -> str:
    """One button per example: its words, its photo, or both."""
    if not examples:
        return ""
    items = "".join(f"<li>{_button(example, address)}</li>" for example in examples)
    heading = address.say("Try one of these")
    return f'<section><h2 class="section">{heading}</h2><ul class="examples">{items}</ul></section>'


def _button(example: Example, address: Address) -> str:
    say = address.say
    words = say(example.text)
    image = f'<img src="{_thumbnail(example.path)}" alt="" width="56" height="56">' if example.path else ""
    shown = words or say("Search with this photo")
    kind = "photo and text" if example.text and example.photo else "photo" if example.photo else "text"
    return (
        f'<button type="button" class="example" {go(address.another(words, photo=example.photo or ""))}>{image}'
        f'<span class="example-text">{text(shown)}<span class="example-kind">{say(kind)}</span></span></button>'
    )


@cache
def _thumbnail(path: Path) -> str:
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    return thumbnail(small)
