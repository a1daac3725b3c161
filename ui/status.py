"""The tab "Status": which build and model answer and how fast, and what is kept for a rollback."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import gradio as gr

from app.errors import MoonError, public
from app.metrics import Percentiles
from app.store.base import Manifest

if TYPE_CHECKING:
    from app.serving import Service
from ui.answers import failed
from ui.components import event_options, html, language_of
from ui.language import ENGLISH, Labels, Language
from ui.markup import notice, text

UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60))


def status(service: Service, say: Language = ENGLISH) -> str:
    """Facts of the service, tables of its latencies and builds, as HTML; a MoonError becomes a notice."""
    try:
        published, builds = service.store.published(), service.store.builds()
        sizes = {build.build: service.store.disk_bytes(build.build) for build in builds}
    except MoonError as error:
        return failed(error, service.settings.data, say)
    health = service.health()
    reasons = public("; ".join(health.reasons), service.settings.data)
    state = notice(say("Not ready"), reasons) if reasons else notice(say("Ready"), say("Queries are answered."))
    facts = {
        "Model": health.model,
        "Vector dimensions": f"{service.embedder.dimensions:,}",
        "Build": health.build or say("none"),
        "Products": f"{health.products:,}",
        "Age": age(health.created, say) if health.created else "",
    }
    rows = "".join(f"<dt>{say(name)}</dt><dd>{text(fact)}</dd>" for name, fact in facts.items() if fact)
    latencies = _latencies(service.metrics.percentiles(), say)
    return f'{state}<dl class="rows">{rows}</dl>{latencies}{_builds(builds, published, sizes, say)}'


def age(created: datetime, say: Language = ENGLISH, now: datetime | None = None) -> str:
    """How long ago that was, in the largest unit that fits.

    >>> age(datetime(2026, 1, 1, tzinfo=UTC), now=datetime(2026, 1, 3, 5, tzinfo=UTC))
    '2 days'
    """
    seconds = ((now or datetime.now(UTC)) - created).total_seconds()
    for name, length in UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return say(f"{{count}} {name}{'s' if count > 1 else ''}", count=count)
    return say("less than a minute")


def _builds(builds: list[Manifest], published: str | None, sizes: dict[str, int | None], say: Language) -> str:
    if not builds:
        return ""
    names = ("Build", "Age", "Products", "Rejected", "Warnings", "Vector dimensions", "Model", "On disk", "Published")
    rows = [_build(build, build.build == published, sizes[build.build], say) for build in builds]
    return _table("Kept builds", names, rows, say)


def _build(build: Manifest, published: bool, size: int | None, say: Language) -> list[str]:
    return [
        build.build,
        age(build.created, say),
        f"{build.products:,}",
        f"{build.rejected:,}",
        f"{build.warnings:,}",
        f"{build.dimensions:,}",
        build.model,
        "" if size is None else f"{size / 1e6:,.1f} MB",
        say("yes") if published else say("on trial") if build.on_trial else "",
    ]


def _latencies(percentiles: dict[str, Percentiles], say: Language) -> str:
    if not percentiles:
        return ""
    names = ("Stage", "Answers", "Half within", "95 % within", "99 % within")
    rows = [
        [say(stage), f"{of.answers:,}", *(f"{value:.1f} ms" for value in (of.p50, of.p95, of.p99))]
        for stage, of in percentiles.items()
    ]
    return _table("Time to answer, last five minutes", names, rows, say)


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], say: Language) -> str:
    heading = say(title)
    head = "".join(f'<th scope="col">{say(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<h2 class="section">{heading}</h2><div class="table" tabindex="0" role="region" aria-label="{heading}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def status_tab(service: Service, labels: Labels) -> None:
    """Lay out the tab; it shows the state of the moment when it is opened."""
    with gr.Tab(labels("Status")) as tab:
        shown = html("status")

    def on_select(request: gr.Request) -> str:
        return status(service, language_of(request))

    tab.select(on_select, None, shown, **event_options("status"))
