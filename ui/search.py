"""The tab "Search": its layout, and which action of the shopper asks for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr
from PIL import Image

from app.schema import CATEGORY_SEPARATOR, Filters
from ui import examples
from ui.components import event_options, html
from ui.filters import toggle
from ui.photo import photo_input
from ui.shop import MAX_SHOWN, PAGE_SIZE, Browsing, Shop


def search_tab(shop: Shop, max_text_chars: int) -> gr.HTML:
    """Lay out the search tab and connect its events. Returns the component that is shown before a search."""
    with gr.Row(elem_id="ask"):
        with gr.Column(scale=3, min_width=280):
            words = gr.Textbox(
                label="What are you looking for?",
                placeholder="e.g. green desk lamp",
                max_length=max_text_chars,
                lines=1,
                max_lines=1,
                elem_id="words",
            )
            with gr.Row(elem_id="ask-buttons"):
                submit = gr.Button("Search", variant="primary", scale=0, min_width=140)
                reset = gr.Button("Start over", variant="secondary", scale=0, min_width=120)
        with gr.Column(scale=1, min_width=240):
            photo = photo_input("Photo")
    with gr.Row(elem_id="browse"):
        panel = html("panel")
        results = html("results")
    landing = html("landing")
    product = html("product", "detail.js")
    browsing = gr.State(Browsing())
    asked: list[Any] = [words, photo, browsing]
    shown: list[Any] = [panel, results, product, browsing]

    def answer(text: str, path: str | None, now: Browsing) -> tuple[str, str, str, Browsing]:
        return *shop.search(text, path, now), "", now

    def on_submit(text: str, path: str | None, now: Browsing) -> tuple[str, str, str, Browsing]:
        return answer(text, path, replace(now, shown=PAGE_SIZE))

    def on_toggle(event: gr.EventData, text: str, path: str | None, now: Browsing) -> tuple[str, str, str, Browsing]:
        return answer(text, path, Browsing(toggle(now.filters, event.key, event.value)))

    def on_clear(text: str, path: str | None) -> tuple[str, str, str, Browsing]:
        return answer(text, path, Browsing())

    def on_more(text: str, path: str | None, now: Browsing) -> tuple[str, str, str, Browsing]:
        return answer(text, path, replace(now, shown=min(now.shown + PAGE_SIZE, MAX_SHOWN)))

    def on_browse(event: gr.EventData) -> tuple[Any, ...]:
        path = event.category.split(CATEGORY_SEPARATOR)
        return path[-1], None, *answer(path[-1], None, Browsing(Filters(category=path)))

    def on_example(event: gr.EventData) -> tuple[Any, ...]:
        example = examples.EXAMPLES[int(event.number)]
        picture = Image.open(example.path) if example.path else None
        path = str(example.path) if example.path else None
        return example.text, picture, *answer(example.text, path, Browsing())

    def on_reset() -> tuple[Any, ...]:
        return "", None, *answer("", None, Browsing())

    gr.on([words.submit, submit.click, photo.input], on_submit, asked, shown, **event_options("search"))
    for part in (panel, results):
        part.toggle(on_toggle, asked, shown, **event_options("filter"))
        part.clear(on_clear, [words, photo], shown, **event_options("clear_filters"))
    results.more(on_more, asked, shown, **event_options("more"))
    landing.browse(on_browse, None, [words, photo, *shown], **event_options("browse"))
    landing.example(on_example, None, [words, photo, *shown], **event_options("example"))
    reset.click(on_reset, None, [words, photo, *shown], **event_options("start_over"))
    for part in (results, product):
        part.open(_opener(shop), None, product, **event_options("product"))
    return landing


def _opener(shop: Shop) -> Callable[[gr.EventData], str]:
    def on_open(event: gr.EventData) -> str:
        return shop.product(event.id)

    return on_open
