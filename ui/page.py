"""The shop page: one module per tab, put together and mounted on the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI

if TYPE_CHECKING:
    from app.serving import Service
from ui.compare import compare_tab
from ui.search import search_tab
from ui.shop import Shop
from ui.status import status_tab
from ui.theme import CSS, theme
from ui.understand import understand_tab

QUEUE_SIZE = 100
CONCURRENT_REQUESTS = 8
"""Requests that run at the same time; the query encoder puts them into shared batches."""

UPLOAD_LIFETIME_S = 3600


def mount(api: FastAPI, service: Service) -> FastAPI:
    """Put the page at the root of the HTTP API's application. Returns the application."""
    return gr.mount_gradio_app(
        api,
        build(service),
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


def build(service: Service) -> gr.Blocks:
    """The page as Gradio blocks, not yet served."""
    shop = Shop(service)
    with gr.Blocks(
        title="MOON Search", analytics_enabled=False, delete_cache=(UPLOAD_LIFETIME_S, UPLOAD_LIFETIME_S)
    ) as page:
        masthead = gr.HTML(apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Search"):
                landing = search_tab(shop, service.settings.max_text_chars)
            with gr.Tab("Understand"):
                understand_tab(service)
            compare_tab(service)
            status_tab(service)
        page.load(
            lambda: (shop.header(), shop.landing()),
            outputs=[masthead, landing],
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )
    return page.queue(max_size=QUEUE_SIZE, default_concurrency_limit=CONCURRENT_REQUESTS)
