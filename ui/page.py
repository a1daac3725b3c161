"""The shop page: one module per tab, put together and mounted on the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from app.serving import Service
from ui.address import Address
from ui.compare import compare_tab
from ui.language import Labels, language_script
from ui.search import search_tab
from ui.shop import Shop
from ui.status import status_tab
from ui.theme import CSS, theme
from ui.understand import understand_tab
from ui.uploads import UploadRoom

QUEUE_SIZE = 100
CONCURRENT_REQUESTS = 8
"""Requests that run at the same time; the query encoder puts them into shared batches."""

UPLOAD_LIFETIME_S, UPLOADS_CHECKED_S = 3600, 600


class FirstScript:
    """ASGI middleware: puts a script before all others of the page; Gradio runs its ``head`` after the first labels."""

    def __init__(self, app: ASGIApp, script: str) -> None:
        self._app = app
        self._script = f"<script>{script}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_script(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-length"] = str(int(headers["content-length"]) + len(self._script))
            elif message["type"] == "http.response.body":
                message["body"] = message["body"].replace(b"<head>", b"<head>" + self._script, 1)
            await send(message)

        is_page = scope.get("method") == "GET" and scope["path"] == f"{scope.get('root_path', '')}/"
        await self._app(scope, receive, send_with_script if is_page else send)


def mount(api: FastAPI, service: Service) -> FastAPI:
    """Put the page at the root of the HTTP API's application. Returns the application."""
    labels = Labels()
    api.add_middleware(FirstScript, script=language_script())
    kept = UPLOAD_LIFETIME_S + UPLOADS_CHECKED_S
    api.add_middleware(UploadRoom, most=service.settings.max_upload_bytes, seconds=kept)
    return gr.mount_gradio_app(
        api,
        build(service, labels),
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
        i18n=labels.translations(),
    )


def build(service: Service, labels: Labels) -> gr.Blocks:
    """The page as Gradio blocks, not yet served; its fixed texts are added to ``labels``."""
    shop = Shop(service)
    with gr.Blocks(
        title="MOON Search", analytics_enabled=False, delete_cache=(UPLOADS_CHECKED_S, UPLOAD_LIFETIME_S)
    ) as page:
        masthead = gr.HTML(labels.html(shop.header), apply_default_css=False)
        with gr.Tabs():
            with gr.Tab(labels("Search")):
                landing = search_tab(shop, service.settings.max_text_chars, labels)
            with gr.Tab(labels("Understand")):
                understand_tab(service, labels)
            compare_tab(service, labels)
            status_tab(service, labels)

        def on_load(request: gr.Request) -> tuple[str, str]:
            address = Address.parse(str(request.query_params))
            return shop.header(address.say), shop.landing(address)

        page.load(
            on_load,
            outputs=[masthead, landing],
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )
    return page.queue(max_size=QUEUE_SIZE, default_concurrency_limit=CONCURRENT_REQUESTS)
