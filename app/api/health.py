"""Whether the process lives, whether it answers queries, and what it serves."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version

from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.api.errors import problems
from app.api.examples import answers
from app.errors import public
from app.serving import Service
from app.status import Health, KeptBuild, Status


class Alive(BaseModel):
    """That there is an answer says it all."""

    live: bool = True


_STARTED = datetime(2026, 11, 21, 6, tzinfo=UTC)
_READY = Health(ready=True, model="moon-starter", build="20261121T060000-1a2b3c", products=1561, created=_STARTED)
_WAITING = Health(ready=False, reasons=["the model is warming up"], model="moon-starter")
_STATUS = Status(
    **_READY.model_dump(),
    version="0.1.0",
    fingerprint="5f2b9c0d1e3a",
    dimensions=1024,
    age_seconds=3600.0,
    builds=[KeptBuild(build="20261121T060000-1a2b3c", created=_STARTED, products=1561)],
)


def health_routes(service: Service) -> APIRouter:
    """The routes for probes and operators."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health/live", responses=answers(Alive()))
    async def live() -> Alive:
        """200 as soon as the process answers, whatever it can do yet."""
        return Alive()

    @routes.get(
        "/health/ready",
        responses={
            **answers(_READY),
            503: {"model": Health, "description": "Not yet, and why"} | answers(_WAITING)[200],
        },
    )
    def ready(response: Response) -> Health:
        """200 when queries are answered at full speed, 503 with the reasons until then."""
        state = _health(service)
        response.status_code = 200 if state.ready else 503
        return state

    @routes.get("/status", responses=answers(_STATUS) | problems(503))
    def status() -> Status:
        """What is being served: build, model and software; also while nothing is."""
        state = _health(service)
        return Status(
            **state.model_dump(),
            version=version("moon-search"),
            fingerprint=service.embedder.fingerprint,
            dimensions=service.embedder.dimensions,
            age_seconds=(datetime.now(UTC) - state.created).total_seconds() if state.created else None,
            builds=[KeptBuild(**manifest.model_dump()) for manifest in service.store.builds()],
        )

    return routes


def _health(service: Service) -> Health:
    state = service.health()
    return state.model_copy(update={"reasons": [public(reason, service.settings.data) for reason in state.reasons]})
