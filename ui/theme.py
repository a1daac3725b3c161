"""Colours, fonts and styles of the page. System fonts only: the page loads nothing from other servers."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

HERE = Path(__file__).parent
CSS = [HERE / "shop.css", HERE / "tabs.css"]


def theme() -> gr.themes.Base:
    """Gradio's plain theme in the page's colours."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
    return gr.themes.Base(
        primary_hue="indigo", neutral_hue="slate", radius_size="lg", font=fonts, font_mono=["ui-monospace", "monospace"]
    ).set(
        body_background_fill="#f7f8fb",
        body_background_fill_dark="#0d1220",
        block_background_fill="#ffffff",
        block_background_fill_dark="#161d2f",
        input_background_fill="#ffffff",
        input_background_fill_dark="#0f1526",
        border_color_primary="#d8dde8",
        border_color_primary_dark="#2c3650",
        body_text_color="#1a2233",
        body_text_color_dark="#e8ecf5",
        body_text_color_subdued="#586277",
        body_text_color_subdued_dark="#a3aec4",
        input_placeholder_color="#667085",
        input_placeholder_color_dark="#8f9bb3",
        button_primary_background_fill="#4338ca",
        button_primary_background_fill_hover="#3730a3",
        button_primary_background_fill_dark="#4f46e5",
        button_primary_background_fill_hover_dark="#4338ca",
        button_primary_text_color="#ffffff",
    )


def script(*names: str) -> str:
    """The page's JavaScript files as one text."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
