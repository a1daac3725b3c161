"""What comes in is an upload: files that a browser sent, no address to fetch and no other file of the server."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeVar

import gradio as gr
from gradio.components.base import Component
from gradio.data_classes import FileData, ListFiles
from gradio.utils import get_upload_folder

Input = TypeVar("Input", bound=Component)

NAME_CHARS = 200
"""Characters of an upload's name that are kept."""


class Upload(NamedTuple):
    """An uploaded file: where it lies, and what its sender calls it, which may be any text."""

    path: str
    name: str


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
