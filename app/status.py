"""What a server says of itself."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Whether queries are answered, and if not, why."""

    ready: bool
    reasons: list[str] = Field(default_factory=list, description="What is missing, empty when ready")
    model: str
    build: str | None = Field(default=None, description="The build that is being searched")
    products: int = 0
    created: datetime | None = Field(default=None, description="When that build was started")


class KeptBuild(BaseModel):
    """A finished build that can be gone back to."""

    build: str
    created: datetime
    products: int


class Status(Health):
    """What is being served, by which software."""

    version: str = Field(description="Version of MOON Search")
    fingerprint: str = Field(description="Changes with anything of the model that changes vectors")
    dimensions: int = Field(description="Length of every vector")
    age_seconds: float | None = Field(default=None, description="Since the build was started")
    builds: list[KeptBuild] = Field(default_factory=list, description="All finished builds, newest first")
