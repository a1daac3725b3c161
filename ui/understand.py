"""The tab "Understand": what the model reads from a product's photo and title, and where it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr
from PIL.Image import Image

from app.errors import BadInputError, MoonError
from app.moon.heatmap import heatmaps
from app.schema import Query
from app.timing import Stopwatch

if TYPE_CHECKING:
    from app.serving import Service
from ui import prediction
from ui.answers import failed, timings
from ui.batch import batch_section
from ui.components import HEATMAPS, event_options, html
from ui.photo import open_photo, photo_input
from ui.seen import core_product, warm_parts

LEAD = (
    '<p class="lead">Give a product\'s photo, its title, or both, and see which category and which '
    "attributes the model reads from them.</p>"
)


class Understanding:
    """Answers of the tab as HTML. No method raises a MoonError: each becomes a notice that says what to do."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def predict(self, title: str, path: str | None) -> str:
        """Bars per category level and attribute, and the core product in a photo; ``path`` is an uploaded file."""
        watch = Stopwatch()
        try:
            photo = self._open(path, watch)
            predicted = self._service.predictor.predict(image=photo, title=title, watch=watch)
            seen = "" if photo is None else self._core_product(photo, title)
        except MoonError as error:
            return failed(error)
        return f"{seen}{prediction.bars(predicted)}{timings(predicted.timings)}"

    def look(self, title: str, path: str | None) -> str:
        """Heatmaps of a photo side by side: by itself, and for the title if there is one."""
        watch = Stopwatch()
        try:
            photo = self._open(path, watch)
            if photo is None:
                raise BadInputError("there is no photo to look at; add one")
            with watch.stage("look"):
                wanted = {
                    "The photo by itself": None,
                    **({"For the title": Query(text=title)} if title.strip() else {}),
                }
                heats = heatmaps(self._service.embedder, photo, list(wanted.values()))
        except MoonError as error:
            return failed(error)
        figures = "".join(warm_parts(photo, heat, caption) for heat, caption in zip(heats, wanted, strict=True))
        hint = '<p class="lead">Coloured parts matter: where they are covered, the photo loses similarity.</p>'
        return f'<div class="sights" role="status">{figures}</div>{hint}{timings(watch.timings())}'

    def _core_product(self, photo: Image, title: str) -> str:
        _, boxes = self._service.embedder.embed_queries([Query(text=title, image=photo)])
        found = "The product that was found in the photo"
        return "" if boxes[0] is None else f'<div class="sights">{core_product(photo, boxes[0], found)}</div>'

    def _open(self, path: str | None, watch: Stopwatch) -> Image | None:
        if path is None:
            return None
        with watch.stage("decode"):
            return open_photo(path, self._service)


def understand_tab(service: Service) -> None:
    """Lay out the tab and connect its events."""
    understanding = Understanding(service)
    with gr.Row(elem_id="understand"):
        with gr.Column(scale=1, min_width=280):
            gr.HTML(LEAD, apply_default_css=False)
            photo = photo_input("Product photo")
            title = gr.Textbox(
                label="Product title",
                placeholder="For example: Green armchair",
                max_length=service.settings.max_text_chars,
                max_lines=1,
            )
            submit = gr.Button("Predict", variant="primary")
            look = gr.Button("Show where the model looks", variant="secondary")
        with gr.Column(scale=2, min_width=280):
            heats = html("heats")
            predicted = html("predicted")
    asked = [title, photo]

    def on_predict(words: str, path: str | None) -> tuple[str, str]:
        return understanding.predict(words, path), ""

    gr.on([submit.click, title.submit], on_predict, asked, [predicted, heats], **event_options("predict"))
    look.click(understanding.look, asked, heats, **HEATMAPS, **event_options("look"))
    batch_section(service)
