from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import pytest

from ui.uploads import NAME_CHARS, Upload, uploads_input, uploads_only


def kept(path: str | Path) -> str | None:
    """What an input makes of a path that a browser names."""
    found = uploads_only(gr.UploadButton()).async_move_resource_to_block_cache(path)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, found).result()


def test_an_upload_is_never_fetched_from_an_address():
    with pytest.raises(gr.Error, match="not fetched"):
        kept("http://127.0.0.1:9/table.csv")


def test_a_file_of_the_server_is_no_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    secret, sent = tmp_path / "shop.csv", uploads / "shop.csv"
    secret.write_text("title")
    (uploads / "link.csv").symlink_to(secret)
    for path in (secret, uploads / ".." / "shop.csv", uploads / "link.csv", "/etc/passwd"):
        with pytest.raises(gr.Error, match="not named by its path"):
            kept(path)
    assert kept(sent) == str(sent)


def test_uploads_keep_what_their_sender_calls_them():
    files = uploads_input()
    sent = [{"path": "/up/a.jpg", "orig_name": f"{'x' * 999}/a.jpg"}, {"path": "/up/b.jpg"}]
    assert files.data_model
    a, b = files.preprocess(files.data_model.model_validate(sent))
    assert (a.path, len(a.name), a.name[-6:]) == ("/up/a.jpg", NAME_CHARS, "/a.jpg")
    assert b == Upload("/up/b.jpg", "b.jpg")
    assert files.preprocess(None) == []
