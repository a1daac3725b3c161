"""Searches that work at one click, shown while the demo catalog is the published one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from app.settings import ROOT
from ui.markup import event, text
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


def examples_for(catalog: str) -> list[tuple[int, Example]]:
    """The numbered examples that can be searched in this catalog: all for the demo catalog, none for others."""
    if Path(catalog).resolve() != DEMO / "catalog.parquet":
        return []
    return [(n, example) for n, example in enumerate(EXAMPLES) if example.path is None or example.path.is_file()]


def buttons(examples: list[tuple[int, Example]]) -> str:
    """One button per example: its words, its photo, or both."""
    if not examples:
        return ""
    items = "".join(f"<li>{_button(number, example)}</li>" for number, example in examples)
    return f'<section><h2 class="section">Try one of these</h2><ul class="examples">{items}</ul></section>'


def _button(number: int, example: Example) -> str:
    image = f'<img src="{_thumbnail(example.path)}" alt="" width="56" height="56">' if example.path else ""
    words = example.text or "Search with this photo"
    kind = "photo and text" if example.text and example.photo else "photo" if example.photo else "text"
    return (
        f'<button type="button" class="example" {event("example", number=str(number))}>{image}'
        f'<span class="example-text">{text(words)}<span class="example-kind">{kind}</span></span></button>'
    )


@cache
def _thumbnail(path: Path) -> str:
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    return thumbnail(small)
