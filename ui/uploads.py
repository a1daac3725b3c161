"""What comes in is an upload: files that a browser sent, no address to fetch, no file of the server, never too many."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple, TypeVar

import gradio as gr
from gradio.components.base import Component
from gradio.data_classes import FileData, ListFiles
from gradio.utils import get_upload_folder
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.refusals import later
from app.store.files import bytes_on_disk

Input = TypeVar("Input", bound=Component)

NAME_CHARS = 200
"""Characters of an upload's name that are kept."""
UPLOAD = "/gradio_api/upload"
NO_ROOM = "the server has no room for more files; send it again later"
"""As text, which is what Gradio shows of an answer."""
MEASURED_S, FULL_S = 1.0, 60
"""How long a measurement of the folder counts, and when whoever finds it full may ask again."""


class Upload(NamedTuple):
    """An uploaded file: where it lies, and what its sender calls it, which may be any text."""

    path: str
    name: str


class UploadRoom:
    """ASGI middleware: 503 for an upload while those of the last hour, which is how long they lie, fill ``most`` bytes.

    What arrives within ``MEASURED_S`` of a measurement comes on top.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most
        self._held, self._measured = 0, float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(UPLOAD) and await self._is_full():
            await PlainTextResponse(NO_ROOM, 503, later(FULL_S))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _is_full(self) -> bool:
        now = time.monotonic()
        if now - self._measured >= MEASURED_S:
            self._measured = now
            self._held = await run_in_threadpool(bytes_on_disk, Path(get_upload_folder()))
        return self._held >= self._most


def uploads_input() -> gr.File:
    """An input that is not shown: files that a script of the page uploaded, handed over as a list of Upload."""
    files = gr.File(file_count="multiple", visible=False)
    files.preprocess = _uploads_of  # type: ignore[method-assign, assignment]
    return uploads_only(files)


def uploads_only(component: Input) -> Input:
    """The component, refusing a path that is a URL or lies outside of the folder of uploads. Returns it.

    Gradio's own check of the folder needs a page that it serves by itself, and ours is mounted. The method is replaced
    on the instance, because Gradio writes a stub file beside modules that subclass a component.
    """

    async def keep_upload(url_or_file_path: str | Path | None) -> str | None:
        if url_or_file_path is None:
            return None
        if "://" in str(url_or_file_path):
            raise gr.Error("A file is uploaded, not fetched from an address.", print_exception=False)
        file = Path(url_or_file_path).resolve()
        if not file.is_relative_to(Path(get_upload_folder()).resolve()):
            raise gr.Error("A file is uploaded, not named by its path on the server.", print_exception=False)
        return str(file)

    component.async_move_resource_to_block_cache = keep_upload  # type: ignore[method-assign]
    return component


def _uploads_of(payload: ListFiles | None) -> list[Upload]:
    files: list[FileData] = [] if payload is None else list(payload)
    return [Upload(file.path, (file.orig_name or Path(file.path).name)[-NAME_CHARS:]) for file in files]
