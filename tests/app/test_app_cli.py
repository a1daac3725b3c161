from __future__ import annotations

import logging
import socket
import subprocess
import sys

import pytest
from fastapi.testclient import TestClient
from shop_samples import publish

from app import cli
from app.errors import ModelError
from app.settings import Settings
from app.store import open_store


def run(monkeypatch, *arguments: str) -> int:
    """The exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["app", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return int(exit_.value.code or 0)


@pytest.fixture
def served(monkeypatch, tmp_path, embedder):
    """What `app serve` hands to the web server: the application, kept while a test's callback looks at it."""
    import uvicorn

    calls = []
    monkeypatch.setenv("MOON_DATA", str(tmp_path))
    monkeypatch.setenv("MOON_PORT", "0")
    monkeypatch.setattr("app.moon.load_encoder", lambda settings: embedder, raising=False)

    def listen(application, **options) -> None:
        with TestClient(application) as client:
            calls.append(
                (options, client.get("/api/v1/health/ready"), client.get("/api/v1/search?text=chair"), client.get("/"))
            )

    monkeypatch.setattr(uvicorn, "run", listen)
    return calls


def test_help_names_the_command_and_its_options(monkeypatch, capsys):
    assert run(monkeypatch, "--help") == 0
    assert "serve" in capsys.readouterr().out
    assert run(monkeypatch, "serve", "--help") == 0
    text = capsys.readouterr().out
    assert "--host" in text
    assert "MOON_PORT" in text


def test_the_command_starts_without_loading_a_model_library():
    program = "import sys, app.cli; assert not {'torch', 'transformers', 'gradio', 'fastapi'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_setting_that_cannot_be_read_is_one_line_on_stderr(monkeypatch, capsys):
    monkeypatch.setenv("MOON_PORT", "abc")
    assert run(monkeypatch, "serve") == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: MOON_PORT is 'abc': ")
    assert error.count("\n") == 1


def test_a_model_that_cannot_be_loaded_is_one_line_on_stderr(monkeypatch, capsys, tmp_path):
    def fail(settings: Settings) -> None:
        raise ModelError("there is no model at nowhere; set MOON_MODEL to a checkpoint")

    monkeypatch.setenv("MOON_DATA", str(tmp_path))
    monkeypatch.setenv("MOON_PORT", "0")
    monkeypatch.setattr("app.moon.load_encoder", fail, raising=False)
    assert run(monkeypatch, "serve") == 1
    assert capsys.readouterr().err == "Error: there is no model at nowhere; set MOON_MODEL to a checkpoint\n"


def test_an_address_in_use_is_refused_before_the_model_is_loaded(monkeypatch, served, capsys):
    def load(settings: Settings) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr("app.moon.load_encoder", load, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(monkeypatch, "serve", "--port", port) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Error: cannot listen on 127.0.0.1 port {port} (")
    assert "--port" in error
    assert run(monkeypatch, "serve", "--host", "no.such.host.invalid") == 1
    assert "no.such.host.invalid" in capsys.readouterr().err
    assert served == []


def test_serve_starts_without_an_index_and_says_so(monkeypatch, served, caplog):
    with caplog.at_level(logging.INFO):
        assert run(monkeypatch, "serve", "--host", "0.0.0.0", "--port", "18124") == 0  # noqa: S104
    options, health, search, page = served[0]
    assert (options["host"], options["port"]) == ("0.0.0.0", 18124)  # noqa: S104
    assert (health.status_code, search.status_code, page.status_code) == (503, 503, 200)
    assert health.json()["reasons"] == ["no index is published yet; run `indexer rebuild CATALOG`"]
    assert "MOON Search" in page.text
    assert "store: edge" in caplog.text
    assert "not answering queries: no index is published yet" in caplog.text


def test_serve_is_warm_and_ready_when_an_index_is_published(monkeypatch, served, embedder, products, tmp_path):
    publish(open_store(Settings(_env_file=None, data=tmp_path)), embedder, products)
    monkeypatch.setenv("MOON_HOST", "127.0.0.2")
    monkeypatch.setenv("MOON_PORT", "18123")
    assert run(monkeypatch, "serve") == 0
    options, health, search, _ = served[0]
    assert (options["host"], options["port"]) == ("127.0.0.2", 18123)
    assert health.json()["ready"]
    assert len(search.json()["hits"]) == 8


def test_without_an_installed_page_the_api_is_served_alone(monkeypatch, new_service):
    from app.api import create_api

    monkeypatch.setattr(cli, "entry_points", lambda group: [])
    api = create_api(new_service)
    assert cli.mount_pages(api, new_service) is api
    assert TestClient(api).get("/").status_code == 404
