"""A service over a small shop, in a real embedded store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from shop_samples import make_products, publish

from app.api import create_api
from app.encoder import Embedder
from app.schema import Product
from app.serving import Service
from app.settings import Settings
from app.store import open_store
from tests.conftest import ColourWordEmbedder


@pytest.fixture(scope="session")
def products(tmp_path_factory: pytest.TempPathFactory) -> list[Product]:
    return make_products(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data=tmp_path / "data", max_image_bytes=2_000_000)


@pytest.fixture
def new_service(settings: Settings, embedder: Embedder) -> Iterator[Service]:
    """A service before the first build was published."""
    service = Service(settings, embedder, open_store(settings))
    yield service
    service.close()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, products: list[Product]) -> Iterator[Service]:
    """A service over the published shop, for tests that only read."""
    settings = Settings(_env_file=None, data=tmp_path_factory.mktemp("data"), max_image_bytes=2_000_000)
    embedder = ColourWordEmbedder()
    store = open_store(settings)
    publish(store, embedder, products)
    service = Service(settings, embedder, store)
    service.warm_up()
    yield service
    service.close()


@pytest.fixture(scope="module")
def client(published: Service) -> Iterator[TestClient]:
    with TestClient(create_api(published), raise_server_exceptions=False) as client:
        yield client
