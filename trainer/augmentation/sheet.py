"""Before and after on one page that needs nothing else, so that a person can judge what was made."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image as Pictures
from PIL.Image import Image

from app.errors import BadInputError
from trainer.augmentation.config import TITLE
from trainer.augmentation.examples import Examples
from trainer.augmentation.kept import Candidate
from trainer.data.corpus import Corpus
from trainer.data.record import Item
from trainer.data.views import Read

SHEET = "sheet.html"
SIDE, QUALITY = 168, 80
"""Pixels of a picture's longer side, and its WebP quality."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark }
body { font: 14px/1.4 system-ui, sans-serif; max-width: 100rem; margin: 1.5rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.25rem; margin: 2rem 0 .4rem }
section { border-top: 1px solid #8886; padding: .8rem 0 } h3 { font-size: 1rem; margin: 0 }
p { margin: .2rem 0; overflow-wrap: anywhere }
.row { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: .6rem } figure { margin: 0; width: 174px }
figcaption { font-size: 12px; overflow-wrap: anywhere }
img { max-width: 168px; max-height: 168px; border: 3px solid #8886 }
.good { color: #1a7f37 } .bad { color: #c62828 } .good img { border-color: #1a7f37 } .bad img { border-color: #c62828 }
"""


def write_sheet(out: Path, corpus: Corpus, examples: Examples, read: Read) -> Path:
    """Write ``out/sheet.html`` and return its path. All text of the data is escaped."""
    chapters = (
        ("Rejected", "Drawn at random among what was made; rejects.csv lists all", examples.rejected),
        ("Least scores", "What was kept with the least cosines to the product, the least first", examples.worst),
        ("Products", "Drawn at random, with all that was made of each", examples.drawn),
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Augmentation</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>Augmentation of {escape(corpus.name)}</h1>"
        "<p>First what the data have, then what was made of it: "
        '<span class="good">kept</span> or <span class="bad">rejected</span>, with the cosine to the product.</p>',
    ]
    for heading, what, shown in chapters:
        parts.append(f"<h2>{heading}</h2><p>{what} ({len(shown)} shown).</p>")
        parts += [_product(out, corpus.item(row), made, verdicts, read) for row, made, verdicts in shown]
    file = out / SHEET
    file.write_text("\n".join([*parts, "</body></html>\n"]), encoding="utf-8", errors="replace")
    return file


def _product(out: Path, item: Item, made: Sequence[Candidate], verdicts: Sequence[str], read: Read) -> str:
    attributes = "; ".join(f"{key}: {', '.join(values)}" for key, values in sorted(item.attributes.items()))
    titles = [
        f'<p class="{_verdict(reason)}">{escape(one.what)} · {_caption(one, reason)}</p>'
        for one, reason in zip(made, verdicts, strict=True)
        if one.kind == TITLE
    ]
    figures = [_figure(_original(picture.location, read), "original", "") for picture in item.pictures]
    for one, reason in zip(made, verdicts, strict=True):
        if one.kind != TITLE:
            image = None if one.score is None else _opened(out / one.what)
            figures.append(_figure(image, f"{escape(one.kind)} · {_caption(one, reason)}", _verdict(reason)))
    facts = " · ".join(filter(None, (item.id, " > ".join(item.category), attributes)))
    return (
        f"<section><h3>{escape(item.title)}</h3><p>{escape(facts)}</p>{''.join(titles)}"
        f'<div class="row">{"".join(figures)}</div></section>'
    )


def _verdict(reason: str) -> str:
    return "bad" if reason else "good"


def _caption(one: Candidate, reason: str) -> str:
    score = "" if one.score is None else f"{one.score:.2f}"
    return escape(" · ".join(filter(None, (score, reason))))


def _figure(image: Image | None, caption: str, verdict: str) -> str:
    """``caption`` is escaped already."""
    shown = "" if image is None else f"<img alt='' src='data:image/webp;base64,{_data(image)}'>"
    return f'<figure class="{verdict}">{shown}<figcaption>{caption}</figcaption></figure>'


def _data(image: Image) -> str:
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def _original(location: str, read: Read) -> Image | None:
    try:
        return read(location)
    except BadInputError:
        return None


def _opened(file: Path) -> Image:
    with Pictures.open(file) as image:
        return image.convert("RGB")
