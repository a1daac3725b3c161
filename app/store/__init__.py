"""Where vectors live: one protocol (base.py), two engines (edge.py, server.py), and the build that is being served."""

from __future__ import annotations

from app.settings import Settings
from app.store.base import Store


def open_store(settings: Settings) -> Store:
    """The store that the settings ask for; nothing is opened or created yet."""
    if settings.store == "edge":
        from app.store.edge import EdgeStore

        return EdgeStore(settings.data / "builds")

    from qdrant_client import QdrantClient

    from app.store.server import ServerStore

    client = QdrantClient(
        url=settings.qdrant_url, api_key=settings.qdrant_api_key, timeout=120, check_compatibility=False
    )
    return ServerStore(client, settings.collection)
