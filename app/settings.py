"""One settings object for every command; each value can be set as an environment variable MOON_<NAME>."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import BadInputError

ROOT = Path(__file__).resolve().parents[1]


def _split(value: Any) -> Any:
    return [part for part in map(str.strip, value.split(",")) if part] if isinstance(value, str) else value


CommaSeparated = (NoDecode, BeforeValidator(_split))
"""Several values in one environment variable."""


class Settings(BaseSettings):
    """Values come from the environment (``MOON_MODEL=...``), then from a ``.env`` file, then from these defaults."""

    model_config = SettingsConfigDict(env_prefix="MOON_", env_file=".env", extra="ignore")

    model: str = Field(
        default=str(ROOT / "models" / "moon-starter"),
        description="MOON checkpoint: a folder or a Hugging Face Hub id",
    )
    compare_model: str | None = Field(
        default=None,
        description="Second MOON checkpoint, a folder or a Hub id: the tab Compare searches the builds it made; unset: "
        "none",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps ...; auto: a GPU if there is one")
    detector: Literal["auto", "learned", "saliency", "grounding", "none"] = Field(
        default="auto",
        description="How the core product is found: the checkpoint's own box head (learned), the tokens that agree "
        "most (saliency), a grounding model, or not at all; auto takes learned where the checkpoint has it, else "
        "saliency",
    )
    grounding_model: str = Field(
        default="Qwen/Qwen2.5-VL-3B-Instruct", description="Folder or Hub id, used when detector=grounding"
    )
    dim: int | None = Field(
        default=None,
        ge=1,
        description="Only the first numbers of every vector are indexed and searched, so many; unset: all. The indexer "
        "and the server must agree",
    )
    keep_visual_tokens: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of each input's visual tokens that passes the LLM, the others are merged into them; 1: all. "
        "The indexer and the server must agree",
    )
    data: Path = Field(default=ROOT / ".moon", description="Folder of vectors, builds and manifests")
    store: Literal["edge", "server"] = Field(
        default="edge", description="edge: Qdrant inside this process; server: Qdrant server or cluster at qdrant_url"
    )
    qdrant_url: str = Field(default="http://127.0.0.1:6333", description="Qdrant server, used when store=server")
    qdrant_api_key: str | None = Field(default=None, description="API key of the Qdrant server")
    qdrant_ca: Path | None = Field(
        default=None, description="PEM file of the authority that signed the server's certificate, for https URLs"
    )
    qdrant_grpc_port: int | None = Field(
        default=None, description="Talk gRPC to this port of the Qdrant server, usually 6334; unset: REST at qdrant_url"
    )
    qdrant_shards: int | None = Field(
        default=None, ge=1, description="Shards of a new build on a Qdrant cluster; unset: one for each node"
    )
    qdrant_replicas: int | None = Field(
        default=None, ge=1, description="Copies of every shard; unset: as the Qdrant server is configured, usually 1"
    )
    collection: str = Field(default="products", description="Name of the published index (alias on a Qdrant server)")
    keep_builds: int = Field(default=3, ge=1, description="Builds kept for rollback, the published one included")
    host: str = Field(default="127.0.0.1", description="Address that `app serve` listens on")
    port: int = Field(default=7860, description="Port that `app serve` listens on")
    max_text_chars: int = Field(default=2000, ge=1, description="Longer query texts are refused")
    max_image_bytes: int = Field(default=20_000_000, ge=1, description="Larger picture files are refused undecoded")
    max_image_pixels: int = Field(default=50_000_000, ge=1, description="Larger pictures are refused undecoded")
    max_pixels_in_work: int = Field(
        default=200_000_000,
        ge=1,
        description="Pixels of all photos in work at the same time; a further photo waits, or is refused",
    )
    max_upload_bytes: int = Field(
        default=24_000_000_000,
        ge=0,
        description="Files sent to the page lie on the disk for an hour; beyond so many bytes they are refused",
    )
    picture_cache_bytes: int = Field(
        default=20_000_000_000,
        ge=0,
        description="Catalog pictures of other machines are kept in the data folder up to this size",
    )
    picture_cache_days: float = Field(
        default=7.0, ge=0, description="A kept picture that is older is fetched again; 0: at every rebuild"
    )
    batch_size: int = Field(
        default=32, ge=1, description="Queries embedded together; how many products are, the indexer sees by itself"
    )
    batch_wait_ms: float = Field(default=4.0, ge=0, description="How long a query waits for others to share its batch")
    max_wait_ms: float = Field(
        default=5000.0, gt=0, description="A query whose turn at the model would come later than this is refused"
    )
    max_requests: int = Field(
        default=128, ge=1, description="API requests in work at the same time; further ones are refused"
    )
    rate_per_second: float = Field(
        default=0.0, ge=0, description="API requests per second of one client, on average; 0: no limit"
    )
    rate_burst: int = Field(
        default=20, ge=1, description="API requests that a client may send at once, used with a rate"
    )
    api_keys: Annotated[tuple[SecretStr, ...] | None, *CommaSeparated] = Field(
        default=None, description="Keys that open the API and /metrics, separated by commas; unset: open to everyone"
    )
    cors_origins: Annotated[tuple[str, ...] | None, *CommaSeparated] = Field(
        default=None,
        description="Origins of other sites whose scripts may use the API, separated by commas; unset: none",
    )
    trusted_proxies: str | None = Field(
        default=None,
        description="Addresses or networks of proxies whose X-Forwarded-For is believed, with commas; unset: none",
    )
    shutdown_seconds: float = Field(
        default=20.0, ge=0, description="After SIGTERM, requests in work have so long to finish"
    )


def read_settings(**given: Any) -> Settings:
    """Settings with ``given`` values before those of the environment. Raises BadInputError naming a wrong variable."""
    try:
        return Settings(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = f"MOON_{'_'.join(map(str, problem['loc']))}".upper()
        raise BadInputError(f"{name} is {problem['input']!r}: {problem['msg']}; correct or unset it") from error
