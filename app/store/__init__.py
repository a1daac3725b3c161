"""Where vectors live: one protocol (base.py), two engines (edge.py, server.py), and the build that is being served."""

from __future__ import annotations

from app.settings import Settings
from app.store.base import Store


def open_store(settings: Settings) -> Store:
    """The store that the settings ask for; nothing is opened or created yet."""
    if settings.store == "edge":
        from app.store.edge import EdgeStore

        return EdgeStore(settings.data / "builds")

    from app.store.server import ServerStore
    from app.store.server_client import connect

    return ServerStore(connect(settings), settings.collection, settings.qdrant_shards, settings.qdrant_replicas)
