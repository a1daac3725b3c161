"""The tab "Understand": what the model reads from a product's photo and title, and where it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr
from PIL.Image import Image

from app.errors import BadInputError, MoonError
from app.moon.heatmap import Target, heatmaps
from app.schema import Query
from app.timing import Stopwatch

if TYPE_CHECKING:
    from app.serving import Service
from ui import prediction
from ui.answers import failed, timings
from ui.batch import batch_section
from ui.components import HEATMAPS, event_options, html, language_of, lead
from ui.language import ENGLISH, Labels, Language
from ui.photo import photo_input, timed_photo
from ui.seen import core_product, warm_parts

LEAD = "Give a product's photo, its title, or both, and see which category and attributes the model reads from them."
HINT = "Coloured parts matter: where they are covered, the photo loses similarity."


class Understanding:
    """Answers of the tab as HTML. No method raises a MoonError: each becomes a notice that says what to do."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def predict(self, title: str, path: str | None, say: Language = ENGLISH) -> str:
        """Bars per category level and attribute, and the core product in a photo; ``path`` is an uploaded file."""
        watch = Stopwatch()
        try:
            with timed_photo(path, self._service, watch) as photo:
                predicted = self._service.predictor.predict(image=photo, title=title, watch=watch)
                seen = "" if photo is None else self._core_product(photo, title, say)
        except MoonError as error:
            return failed(error, self._service.settings.data, say)
        return f"{seen}{prediction.bars(predicted, say)}{timings(predicted.timings, say)}"

    def look(self, title: str, path: str | None, say: Language = ENGLISH) -> str:
        """Heatmaps of a photo side by side: by itself, and for the title if there is one."""
        watch = Stopwatch()
        try:
            with timed_photo(path, self._service, watch) as photo, watch.stage("look"):
                if photo is None:
                    raise BadInputError("there is no photo to look at; add one")
                wanted: dict[str, Target] = {say("The photo by itself"): None}
                if title.strip():
                    wanted[say("For the title")] = self._service.embedder.embed_queries([Query(text=title)])[0][0]
                heats = zip(wanted, heatmaps(self._service.embedder, photo, list(wanted.values())), strict=True)
                figures = "".join(warm_parts(photo, heat, caption, say) for caption, heat in heats)
        except MoonError as error:
            return failed(error, self._service.settings.data, say)
        hint = f'<p class="lead">{say(HINT)}</p>'
        return f'<div class="sights" role="status">{figures}</div>{hint}{timings(watch.timings(), say)}'

    def _core_product(self, photo: Image, title: str, say: Language) -> str:
        _, boxes = self._service.embedder.embed_queries([Query(text=title, image=photo)])
        found = say("The product that was found in the photo")
        return "" if boxes[0] is None else f'<div class="sights">{core_product(photo, boxes[0], found)}</div>'


def understand_tab(service: Service, labels: Labels) -> None:
    """Lay out the tab and connect its events."""
    understanding = Understanding(service)
    with gr.Row(elem_id="understand"):
        with gr.Column(scale=1, min_width=280):
            lead(LEAD, labels)
            photo = photo_input("Product photo", labels)
            title = gr.Textbox(
                label=labels("Product title"),
                placeholder=labels("For example: Green armchair"),
                max_length=service.settings.max_text_chars,
                max_lines=1,
            )
            submit = gr.Button(labels("Predict"), variant="primary")
            look = gr.Button(labels("Show where the model looks"), variant="secondary")
        with gr.Column(scale=2, min_width=280):
            heats = html("heats")
            predicted = html("predicted")
    asked = [title, photo]

    def on_predict(words: str, path: str | None, request: gr.Request) -> tuple[str, str]:
        return understanding.predict(words, path, language_of(request)), ""

    def on_look(words: str, path: str | None, request: gr.Request) -> str:
        return understanding.look(words, path, language_of(request))

    gr.on([submit.click, title.submit], on_predict, asked, [predicted, heats], **event_options("predict"))
    look.click(on_look, asked, heats, **HEATMAPS, **event_options("look"))
    batch_section(service, labels)
