"""The shop page: its layout, and which action of the shopper asks for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI
from PIL import Image

from app.schema import CATEGORY_SEPARATOR, Filters

if TYPE_CHECKING:
    from app.serving import Service
from ui import examples
from ui.filters import toggle
from ui.photo import photo_input
from ui.shop import MAX_SHOWN, PAGE_SIZE, Browsing, Shop
from ui.theme import CSS, script, theme

QUEUE_SIZE = 100
CONCURRENT_REQUESTS = 8
"""Requests that run at the same time; the query encoder puts them into shared batches."""

UPLOAD_LIFETIME_S = 3600


def mount(api: FastAPI, service: Service) -> FastAPI:
    """Put the page at the root of the HTTP API's application. Returns the application."""
    return gr.mount_gradio_app(
        api,
        build(Shop(service), service.settings.max_text_chars),
        path="/",
        max_file_size=service.settings.max_image_bytes,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=theme(),
        css_paths=CSS,
    )


def build(shop: Shop, max_text_chars: int) -> gr.Blocks:
    """The page as Gradio blocks, not yet served."""
    with gr.Blocks(
        title="MOON Search", analytics_enabled=False, delete_cache=(UPLOAD_LIFETIME_S, UPLOAD_LIFETIME_S)
    ) as page:
        masthead = gr.HTML(apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Search"):
                landing = _search_tab(shop, max_text_chars)
            with gr.Tab("Understand"):
                _understand_tab(shop, max_text_chars)
        page.load(
            lambda: (shop.header(), shop.landing()),
            outputs=[masthead, landing],
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )
    return page.queue(max_size=QUEUE_SIZE, default_concurrency_limit=CONCURRENT_REQUESTS)


def _html(elem_id: str, *scripts: str) -> gr.HTML:
    return gr.HTML("", apply_default_css=False, elem_id=elem_id, js_on_load=script("shop.js", *scripts))


def _search_tab(shop: Shop, max_text_chars: int) -> gr.HTML:
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
        panel = _html("panel")
        results = _html("results")
    landing = _html("landing")
    product = _html("product", "detail.js")
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

    gr.on([words.submit, submit.click, photo.input], on_submit, asked, shown, **_event("search"))
    for part in (panel, results):
        part.toggle(on_toggle, asked, shown, **_event("filter"))
        part.clear(on_clear, [words, photo], shown, **_event("clear_filters"))
    results.more(on_more, asked, shown, **_event("more"))
    landing.browse(on_browse, None, [words, photo, *shown], **_event("browse"))
    landing.example(on_example, None, [words, photo, *shown], **_event("example"))
    reset.click(on_reset, None, [words, photo, *shown], **_event("start_over"))
    for part in (results, product):
        part.open(_opener(shop), None, product, **_event("product"))
    return landing


def _opener(shop: Shop) -> Callable[[gr.EventData], str]:
    def on_open(event: gr.EventData) -> str:
        return shop.product(event.id)

    return on_open


def _understand_tab(shop: Shop, max_text_chars: int) -> None:
    with gr.Row(elem_id="understand"):
        with gr.Column(scale=1, min_width=280):
            gr.HTML(
                '<p class="lead">Give a product\'s photo, its title, or both, and see which category and which '
                "attributes the model reads from them.</p>",
                apply_default_css=False,
            )
            photo = photo_input("Product photo")
            title = gr.Textbox(
                label="Product title", placeholder="For example: Green armchair", max_length=max_text_chars, max_lines=1
            )
            submit = gr.Button("Predict", variant="primary")
        with gr.Column(scale=2, min_width=280):
            predicted = _html("predicted")
    gr.on([submit.click, title.submit], shop.predict, [title, photo], predicted, **_event("predict"))


def _event(name: str) -> dict[str, Any]:
    """Options that all events share; the page's events are private, the HTTP API is for programs."""
    return {"api_name": name, "api_visibility": "private", "show_progress": "minimal", "trigger_mode": "always_last"}
