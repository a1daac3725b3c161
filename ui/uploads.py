"""What comes in is an upload: files that a shopper's browser sent, never an address that the server would fetch."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import gradio as gr
from gradio.components.base import Component

Input = TypeVar("Input", bound=Component)


def uploads_only(component: Input) -> Input:
    """The component, refusing a path that is a URL. Returns it.

    The method is replaced on the instance, because Gradio writes a stub file beside modules that subclass a component.
    """
    keep = component.async_move_resource_to_block_cache

    async def keep_upload(url_or_file_path: str | Path | None) -> str | None:
        if url_or_file_path is not None and "://" in str(url_or_file_path):
            raise gr.Error("A file is uploaded, not fetched from an address.", print_exception=False)
        return await keep(url_or_file_path)

    component.async_move_resource_to_block_cache = keep_upload  # type: ignore[method-assign]
    return component
