"""The journey of a catalog: read, embed what is new, load a new build, verify it, publish it, drop the oldest."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from app.catalog.columns import Columns, Mapped
from app.catalog.problems import Report
from app.catalog.products import stream_catalog
from app.encoder import CatalogEmbedder
from app.errors import CatalogError, IndexUnavailableError, ModelError
from app.matryoshka import check_dim, shortened_fingerprint
from app.schema import Filters
from app.settings import Settings
from app.store.base import MANIFEST_VERSION, Manifest, Store
from indexer import build
from indexer.changes import Changes, changes_since, write_records
from indexer.clock import Clock
from indexer.embedding import Embedding, Spread, alone
from indexer.entries import Entries
from indexer.keeping import drop_old_builds, only_one_writer, record_path, report_path, vectors_folder
from indexer.progress import Track, untracked
from indexer.spool import Spool
from indexer.vectors import VectorArchive

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """The model as the rebuild needs it: its fingerprint at once, its weights only when a product must be embedded."""

    name: str
    fingerprint: str
    load: Callable[[], CatalogEmbedder]
    dim: int | None = None
    """Numbers of its vectors that builds hold, the first ones; None: all."""

    def loaded(self) -> CatalogEmbedder:
        """The embedder. Raises ModelError if it is not the model that the fingerprint was taken of."""
        embedder = self.load()
        check_dim(self.dim, embedder.dimensions)
        if embedder.fingerprint != self.fingerprint:
            raise ModelError(f"model {self.name} changed while it was being loaded; run `indexer rebuild` again")
        return embedder


@dataclass
class Outcome:
    """What a rebuild did: ``build`` holds the catalog, and is new if ``changed``; ``clock`` knows where time went."""

    build: str
    changed: bool
    published: bool
    products: int
    embedded: int
    report: Report
    report_file: Path
    recall: float = 1.0
    dropped: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)


def rebuild(
    catalog: Path | str,
    settings: Settings,
    store: Store,
    model: Model,
    track: Track = untracked,
    mapping: Mapped | None = None,
    spread: Spread = alone,
    publish: bool = True,
) -> Outcome:
    """Bring the published index in line with ``catalog``; searches go on undisturbed until the new build is published.

    ``catalog`` is a path or URL (see :func:`~app.catalog.sources.catalog_files`), ``mapping`` says which columns hold
    which field where names do not tell (see :func:`~app.catalog.columns.choose`). ``spread`` has others embed first:
    other processes (:mod:`indexer.ranks`), other machines (:mod:`indexer.on_ray`). What they leave is done here.
    Without ``publish`` the new build is only kept, on trial: see :func:`~indexer.build.drop_old_builds`.

    Raises CatalogError if the catalog cannot be read or has no usable product, IndexUnavailableError if another rebuild
    runs or the new build fails its verification, ModelError if the model cannot be used. After any of them, or after
    being killed, the published build is what it was, and the next run goes on with the vectors that are on disk.
    """
    with only_one_writer(settings.data), Spool(settings.data) as rows:
        return _rebuild(catalog, settings, store, model, track, mapping, spread, rows, publish)


def embed_share(catalog: Path | str, settings: Settings, model: Model, mapping: Mapped | None, spread: Spread) -> None:
    """What a process does of a rebuild that another one leads: it embeds its share of the catalog into the archive."""
    settings.data.mkdir(parents=True, exist_ok=True)
    with Spool(settings.data) as rows:
        for row in stream_catalog(catalog, Report(), mapping):
            rows.append(row)
        rows.close_for_writing()
        archive = VectorArchive(vectors_folder(settings) / model.fingerprint)
        spread(Embedding(rows, archive, model.loaded, settings), untracked)


def _rebuild(
    catalog: Path | str,
    settings: Settings,
    store: Store,
    model: Model,
    track: Track,
    mapping: Mapped | None,
    spread: Spread,
    rows: Spool,
    publish: bool,
) -> Outcome:
    started = datetime.now(UTC)
    build_id = f"{started:%Y%m%dT%H%M%S}-{started.microsecond:06x}"
    report = Report()
    report_file = report_path(settings, build_id)
    clock = Clock()

    with clock.stage("read"):
        for row in stream_catalog(catalog, report, mapping, _log_columns):
            rows.append(row)
        rows.close_for_writing()
        archive = VectorArchive(vectors_folder(settings) / model.fingerprint)
        archive.remove_leftovers()
    known = len(archive)
    if known:
        check_dim(model.dim, archive.dimensions)
    embedding = Embedding(rows, archive, model.loaded, settings, clock)
    spread(embedding, track)
    with track("Pictures and vectors", len(rows)) as advance:
        entries = embedding.of(rows.largest_first(), report, advance)
    if not entries:
        report.write(report_file)
        raise CatalogError(f"{catalog}: no product can be indexed, the published build stays; see {report_file}")

    with clock.stage("compare"):
        survey = entries.survey(report)
    embedded = len(archive) - known
    published, on_trial = _published(store)
    fingerprint = shortened_fingerprint(model.fingerprint, model.dim)
    state = (MANIFEST_VERSION, fingerprint, survey.catalog_hash)
    for made in ([published] if published else []) + ([] if publish else on_trial):
        if (made.version, made.fingerprint, made.catalog_hash) == state and _is_intact(store, made):
            report_file = report_path(settings, made.build)
            is_published = made is published
            return Outcome(made.build, False, is_published, len(entries), embedded, report, report_file, clock=clock)

    report.write(report_file)
    manifest = Manifest(
        build=build_id,
        created=started,
        model=model.name,
        fingerprint=fingerprint,
        dimensions=model.dim or archive.dimensions,
        catalog=without_secrets(str(catalog)),
        catalog_hash=survey.catalog_hash,
        products=len(entries),
        rejected=report.count("reject"),
        warnings=report.count("warning"),
        attribute_keys=survey.attribute_keys,
        number_keys=survey.number_keys,
        mean_words=survey.mean_words,
        on_trial=not publish,
    )
    changes = None
    if published and store.copies:
        changes = changes_since(published, manifest, survey.records, record_path(settings, published.build))
    recall = _make(store, manifest, entries, archive, changes, track, clock)
    write_records(survey.records, record_path(settings, build_id))
    if publish:
        store.publish(build_id)
    dropped = drop_old_builds(store, settings)
    return Outcome(build_id, True, publish, len(entries), embedded, report, report_file, recall, dropped, clock)


def _make(
    store: Store,
    manifest: Manifest,
    entries: Entries,
    archive: VectorArchive,
    changes: Changes | None,
    track: Track,
    clock: Clock,
) -> float:
    """Load a build, finish and verify it; returns its recall. What fails as a copy is made again from nothing."""
    fitted = manifest if changes is None else changes.fitted(manifest)
    try:
        with store.create(fitted, None if changes is None else changes.base.build) as writer:
            count = len(entries) if changes is None else len(changes.changed)
            with clock.stage("load"), track("Loading the index", count) as advance:
                archive.merge_parts()
                sample = build.load(entries, archive, manifest.dimensions, writer, advance, changes)
            timings = {stage: round(seconds, 3) for stage, seconds in clock.seconds.items()}
            with clock.stage("optimise"):
                writer.finish(fitted.model_copy(update={"timings": timings}))
        with clock.stage("verify"):
            return _verified(store, manifest.build, len(entries), sample)
    except IndexUnavailableError as error:
        if changes is None:
            raise
        log.warning("every product is loaded anew: %s", error)
    return _make(store, manifest, entries, archive, None, track, clock)


def without_secrets(location: str) -> str:
    """A URL without what may be a password or a token.

    >>> without_secrets("https://shop:pass@example.org/feed.csv?key=1"), without_secrets("catalog.csv")
    ('https://example.org/feed.csv', 'catalog.csv')
    """
    if "://" not in location:
        return location
    return re.sub(r"(?<=://)[^/@:]*(:[^/@]*)?@", "", location).partition("?")[0]


def _log_columns(file: str, columns: Columns) -> None:
    if columns.guessed:
        guesses = (f"{field} from {', '.join(columns.used[field])}" for field in sorted(columns.guessed))
        log.info("%s: columns taken by their names: %s", file, "; ".join(guesses))
    if columns.unused:
        log.info("%s: columns that are not used: %s", file, ", ".join(columns.unused))


def _verified(store: Store, build_id: str, products: int, sample: build.Sample) -> float:
    index = store.open(build_id)
    try:
        recall = build.verify(index, products, sample)
    except IndexUnavailableError:
        index.close()
        store.drop(build_id)
        raise
    index.close()
    return recall


def _published(store: Store) -> tuple[Manifest | None, list[Manifest]]:
    """The published build, and those on trial."""
    build_id, builds = store.published(), store.builds()
    published = next((manifest for manifest in builds if manifest.build == build_id), None)
    return published, [manifest for manifest in builds if manifest.on_trial and manifest.build != build_id]


def _is_intact(store: Store, manifest: Manifest) -> bool:
    """Whether a build can be opened and is complete; one that was damaged on disk is to be replaced."""
    try:
        index = store.open(manifest.build)
    except IndexUnavailableError as error:
        log.warning("replacing build %s: %s", manifest.build, error)
        return False
    found = index.count(Filters())
    index.close()
    if found != manifest.products:
        log.warning("replacing build %s: it holds %d of %d products", manifest.build, found, manifest.products)
    return found == manifest.products
