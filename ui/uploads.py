"""What comes in is an upload: files that a browser sent, no address to fetch, no file of the server, never too many."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import gradio as gr
from gradio.components.base import Component
from gradio.data_classes import FileData, ListFiles
from gradio.utils import get_upload_folder
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.refusals import later

Input = TypeVar("Input", bound=Component)

NAME_CHARS = 200
"""Characters of an upload's name that are kept."""
UPLOAD = "/gradio_api/upload"
NO_ROOM = "the server has no room for more files; send it again later"
SWEPT_S, FULL_S = 600, 60
"""How often broken uploads are looked for, and when whoever finds no room may ask again."""


class Upload(NamedTuple):
    """An uploaded file: where it lies, and what its sender calls it, which may be any text."""

    path: str
    name: str


class UploadRoom:
    """ASGI middleware: 503 as soon as uploads of the last ``seconds``, broken ones too, have more than ``most`` bytes.

    ``seconds`` is how long Gradio keeps an upload. What it forgets when a browser breaks one off is removed here.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self._app, self._most, self._seconds = app, most, seconds
        self._by_minute: dict[int, int] = {}
        self._swept = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith(UPLOAD):
            await self._app(scope, receive, send)
            return
        if time.monotonic() - self._swept >= SWEPT_S:
            self._swept = time.monotonic()
            await run_in_threadpool(remove_broken, Path(get_upload_folder()), self._seconds)

        async def counted() -> Message:
            message = await receive()
            if not self._has_room(len(message.get("body", b""))):
                raise HTTPException(503, NO_ROOM, later(FULL_S))
            return message

        await self._app(scope, counted, send)

    def _has_room(self, more: int) -> bool:
        now = int(time.monotonic() / 60)
        for minute in [minute for minute in self._by_minute if minute < now - self._seconds / 60]:
            del self._by_minute[minute]
        if sum(self._by_minute.values()) + more > self._most:
            return False
        self._by_minute[now] = self._by_minute.get(now, 0) + more
        return True


def remove_broken(folder: Path, seconds: float) -> None:
    """Delete parts of uploads that nobody has written to for so long; Gradio gives whole ones a folder of their own."""
    for part in folder.glob("tmp*"):
        with suppress(OSError):  # removed meanwhile
            if part.is_file() and time.time() - part.stat().st_mtime > seconds:
                part.unlink()


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
