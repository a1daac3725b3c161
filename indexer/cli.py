"""The `indexer` command: turn a catalog into the published index, and look after the builds."""

from __future__ import annotations

import logging
import os
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.complete import LEAST_CONFIDENCE
from app.encoder import CatalogEmbedder
from app.errors import BadInputError, CatalogError, MoonError
from app.settings import Settings, read_settings

if TYPE_CHECKING:
    from app.complete import Generator
    from indexer.embedding import Spread
    from indexer.rebuild import Model

REJECTED = 3
PREVIEW = 5

Catalog = Annotated[
    str,
    typer.Argument(
        metavar="CATALOG",
        help="A .csv, .tsv, .txt, .jsonl, .ndjson or .parquet file, a folder or .zip of them, or the URL of one "
        "(https://, s3://, gs://), see docs/indexing.md",
    ),
]
Mapping = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Which column holds a field, such as title=product_name; or a .toml file of such lines. May be repeated",
    ),
]


class Engine(StrEnum):
    """Where products are embedded."""

    local = "local"
    ray = "ray"


cli = typer.Typer(
    help="Turn a product catalog into the index that `app serve` searches.\n\n"
    "Settings are read from the environment and from .env: MOON_MODEL, MOON_DATA, MOON_STORE ... "
    "Exit code 0: all fine. 3: done, but some rows were rejected. 1: failed, the published index is what it was.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@cli.command()
def rebuild(
    catalog: Catalog,
    mapping: Mapping = None,
    engine: Annotated[
        Engine, typer.Option(help="Where products are embedded: here, or on a Ray cluster (see docs/indexing.md)")
    ] = Engine.local,
    dim: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Index only so many numbers of every vector, the first ones; set MOON_DIM to it to search them",
        ),
    ] = None,
    publish: Annotated[
        bool,
        typer.Option("--publish/--no-publish", help="Let searches use the new index, or keep it to look at first"),
    ] = True,
) -> None:
    """Bring the index in line with a catalog.

    Only new and changed products are embedded. Searches go on undisturbed until the new index is verified; a run that
    was killed is simply started again.
    """
    from app.catalog.columns import read_mapping
    from app.store import open_store
    from indexer.console import show_outcome
    from indexer.embedding import alone
    from indexer.progress import show_progress
    from indexer.ranks import joined
    from indexer.rebuild import embed_share
    from indexer.rebuild import rebuild as run

    given = read_mapping(mapping or ())
    settings = read_settings() if dim is None else read_settings(dim=dim)
    with joined() as ranks:
        spread = _ray() if engine is Engine.ray else ranks.spread if ranks.size > 1 else alone
        if not ranks.leads:
            embed_share(catalog, settings, _model(settings), given, spread)
            return
        outcome = run(catalog, settings, open_store(settings), _model(settings), show_progress, given, spread, publish)
    show_outcome(outcome)
    if outcome.report.count("reject") and ranks.size == 1:  # launchers take any other code than 0 for a crash
        raise typer.Exit(REJECTED)


@cli.command()
def validate(catalog: Catalog, mapping: Mapping = None) -> None:
    """Check a catalog and its pictures; nothing is indexed.

    Shows which column was taken for what, the first five products as the model will see them, and what is wrong with
    the others.
    """
    from app.catalog.columns import Columns, read_mapping
    from app.catalog.problems import Report
    from app.catalog.products import stream_catalog
    from indexer.console import show_columns, show_products, show_report
    from indexer.pictures import Prepared, prepare_ahead
    from indexer.progress import show_progress

    given = read_mapping(mapping or ())
    report = Report()
    columns: dict[str, Columns] = {}
    first: list[Prepared] = []
    usable = pictures = 0
    with show_progress("Products", None) as advance:
        rows = stream_catalog(catalog, report, given, columns.__setitem__)
        for item in prepare_ahead(rows, None, read_settings()):
            report.add([*item.problems, *([item.reject] if item.is_empty else [])])
            first += [item] if len(first) < PREVIEW else []
            usable += not item.is_empty
            pictures += len(item.images)
            advance(1)
    typer.echo(f"{catalog}: {usable} products with {pictures} usable pictures.")
    show_columns(columns)
    show_products(first)
    show_report(report)
    if not usable:
        raise CatalogError(f"{catalog}: no product can be indexed; correct the rows above")
    if report.count("reject"):
        raise typer.Exit(REJECTED)


@cli.command()
def complete(
    catalog: Catalog,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that the two tables are written to")],
    mapping: Mapping = None,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Least probability of a value that is filled in")
    ] = LEAST_CONFIDENCE,
    generator: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Folder or Hub id of an image-text model that writes titles, and labels that neighbours leave open",
        ),
    ] = None,
) -> None:
    """Fill in what products lack: title, category, attributes.

    The nearest products of the published index vote, so index a catalog
    first. OUT/catalog.jsonl is the catalog with what was filled in;
    OUT/proposals.csv says of every value how probable it is, whether it is
    sure, and who says so. What a product has is never changed.
    """
    from app.catalog.columns import read_mapping
    from app.complete import Completer
    from app.serving import Service
    from indexer.complete import complete as run
    from indexer.console import show_completion
    from indexer.progress import show_progress

    given = read_mapping(mapping or ())
    settings = read_settings()
    service = Service.from_settings(settings)
    try:
        completer = Completer(service.predictor, confidence, _generator(generator, settings))
        outcome = run(catalog, out, completer, settings, show_progress, given)
    finally:
        service.close()
    show_completion(outcome, out)
    if outcome.report.count("reject"):
        raise typer.Exit(REJECTED)


@cli.command()
def status() -> None:
    """Show the builds, which one is published, and what they take on disk."""
    from app.store import open_store
    from app.store.files import bytes_on_disk
    from indexer.console import show_builds, size
    from indexer.keeping import vectors_folder

    settings = read_settings()
    store = open_store(settings)
    builds = store.builds()
    if not builds:
        typer.echo("There is no index yet. Make one with: indexer rebuild CATALOG")
        return
    show_builds([(manifest, store.disk_bytes(manifest.build)) for manifest in builds], store.published())
    vectors = vectors_folder(settings)
    typer.echo(f"Vectors of all models: {size(bytes_on_disk(vectors))} in {vectors}")


@cli.command()
def rollback() -> None:
    """Publish the previous build again."""
    from app.store import open_store

    typer.echo(f"Published build {open_store(read_settings()).rollback()}.")


@cli.command()
def publish(build: Annotated[str, typer.Argument(metavar="BUILD", help="One that `indexer status` lists")]) -> None:
    """Publish a kept build, such as one made with --no-publish."""
    from app.store import open_store

    open_store(read_settings()).publish(build)
    typer.echo(f"Published build {build}.")


@cli.command()
def prune(
    trial: Annotated[
        bool, typer.Option("--trial", help="Also delete the build that was made with --no-publish and not published")
    ] = False,
    vectors: Annotated[
        bool,
        typer.Option(
            "--vectors", help="Also delete the vectors of models that neither a kept build nor MOON_MODEL uses"
        ),
    ] = False,
) -> None:
    """Delete builds beyond MOON_KEEP_BUILDS.

    The published one always stays.
    """
    from app.store import open_store
    from indexer.keeping import drop_old_builds, drop_unused_vectors, only_one_writer

    settings = read_settings()
    store = open_store(settings)
    with only_one_writer(settings.data):
        dropped = drop_old_builds(store, settings, 0 if trial else 1)
        typer.echo(f"Deleted builds: {', '.join(dropped) or 'none'}.")
        if vectors:
            unused = drop_unused_vectors(store, settings, _model(settings).fingerprint)
            typer.echo(f"Deleted vectors of models: {', '.join(unused) or 'none'}.")


def main() -> None:
    """The console entry: errors that are meant for people become one line and exit code 1."""
    rank = os.environ.get("RANK", "0")
    speaker = "" if rank == "0" else f"process {rank}: "
    logging.basicConfig(level=logging.WARNING, format=f"{speaker}%(message)s")
    for shown in ("indexer", "app.moon") if rank == "0" else ():
        logging.getLogger(shown).setLevel(logging.INFO)
    try:
        cli()
    except MoonError as error:
        typer.echo(f"Error: {speaker}{error}", err=True)
        sys.exit(1)


def _generator(name: str | None, settings: Settings) -> Generator | None:
    if name is None:
        return None
    from app.moon.describe import Describer
    from app.moon.device import choose_device

    return Describer.from_pretrained(name, choose_device(settings.device)[0])


def _ray() -> Spread:
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise BadInputError("--engine ray needs Ray Data; install it with: pip install 'moon-search[ray]'")
    from indexer.on_ray import spread

    return spread


def _model(settings: Settings) -> Model:
    from app.moon import model_fingerprint, model_name
    from indexer.rebuild import Model

    def load() -> CatalogEmbedder:
        from app.moon import load_encoder

        return load_encoder(settings)

    return Model(model_name(settings.model), model_fingerprint(settings.model, settings), load, settings.dim)
