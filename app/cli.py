"""The `app` command: serve the page and the HTTP API."""

from __future__ import annotations

import logging
import socket
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated

import typer

from app.errors import BadInputError, MoonError
from app.settings import read_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.serving import Service

log = logging.getLogger(__name__)

PAGES = "moon_search.pages"
"""Entry points ``mount(api: FastAPI, service: Service) -> FastAPI`` that put a page onto the API's application."""

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, help="MOON Search: product search by text, photo or both."
)


@cli.callback()
def _commands() -> None:
    """Keeps `serve` a command of its own while it is the only one."""


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; by default MOON_HOST, else 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; by default MOON_PORT, else 7860")] = None,
) -> None:
    """Serve the shop page and the HTTP API.

    Loads and warms up the model before it listens. Starts without an index too, and answers queries as soon as
    `indexer rebuild` has published one. After SIGTERM it finishes the requests in work and refuses new ones.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = read_settings()
    host, port = host or settings.host, port or settings.port
    _check_free(host, port)
    from app import server
    from app.api import create_api
    from app.serving import Service

    service = Service.from_settings(settings)
    try:
        application = mount_pages(create_api(service), service)
        service.start()
        server.run(application, service, host, port)
    finally:
        service.close()


def mount_pages(api: FastAPI, service: Service) -> FastAPI:
    """Let every installed page mount itself; without one, the API is served alone."""
    for page in entry_points(group=PAGES):
        log.info("page: %s (%s)", page.name, page.value)
        api = page.load()(api, service)
    return api


def _check_free(host: str, port: int) -> None:
    """Raise BadInputError if nothing can listen there, before half a minute is spent on loading the model."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInputError(
            f"cannot listen on {host} port {port} ({reason}); choose others with --host and --port"
        ) from error


def main() -> None:
    """Run the command; an error of ours becomes one line on stderr and exit status 1."""
    try:
        cli()
    except MoonError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from error
