"""A serving process follows the published build without a failed request."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

import pytest
from store_samples import load, make_points

from app.errors import IndexUnavailableError, ModelError
from app.schema import Filters
from app.store.base import MANIFEST_VERSION, Index, Store
from app.store.live import LiveIndex

FINGERPRINT = "colour-words-1"
one_engine = pytest.mark.parametrize("store", ["memory"], indirect=True)
"""For what LiveIndex decides by itself."""


class WatchedStore:
    """Passes everything on and counts how often it was asked and which builds were opened and closed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = 0
        self.opened: list[str] = []
        self.closed: list[str] = []

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def published(self) -> str | None:
        self.asked += 1
        return self._store.published()

    def open(self, build: str) -> Index:
        index = self._store.open(build)
        self.opened.append(build)
        close = index.close

        def watched_close() -> None:
            self.closed.append(build)
            close()

        index.close = watched_close
        return index


@pytest.fixture
def watched(store: Store) -> WatchedStore:
    for build in ("b1", "b2"):
        load(store, build, make_points(20))
    return WatchedStore(store)


def build_of(live: LiveIndex) -> str:
    with live.index() as index:
        return index.manifest.build


def test_requests_never_fail_while_builds_are_exchanged(watched: WatchedStore):
    watched.publish("b1")
    live = LiveIndex(watched, FINGERPRINT, check_seconds=0.005)
    served: Counter[str] = Counter()
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        vector = make_points(1)[0].vector
        try:
            while not stop.is_set():
                with live.index() as index:
                    assert len(index.search(vector, Filters(category=["Lighting"]), limit=5)) == 5
                    assert index.count(Filters()) == 20
                    served[index.manifest.build] += 1
        except BaseException as error:
            failures.append(error)

    assert build_of(live) == "b1"
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for build in ("b2", "b1", "b2"):
        watched.publish(build)
        before = served[build]
        deadline = time.monotonic() + 20
        while served[build] < before + 10 and not failures and time.monotonic() < deadline:
            time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    live.close()
    assert failures == []
    assert watched.opened == ["b1", "b2", "b1", "b2"]
    assert sorted(watched.closed) == sorted(watched.opened)


def test_a_build_is_closed_only_after_its_last_request(watched: WatchedStore):
    watched.publish("b1")
    live = LiveIndex(watched, FINGERPRINT, check_seconds=0)
    with live.index() as first, live.index() as second:
        watched.publish("b2")
        assert build_of(live) == "b2"
        assert watched.closed == []
        assert first.count(Filters()) == second.count(Filters()) == 20
    assert watched.closed == ["b1"]
    live.close()
    assert watched.closed == ["b1", "b2"]


@one_engine
def test_close_waits_for_running_requests(watched: WatchedStore):
    watched.publish("b1")
    live = LiveIndex(watched, FINGERPRINT)
    with live.index() as index:
        live.close()
        assert index.count(Filters()) == 20
    assert watched.closed == ["b1"]


@one_engine
def test_a_rollback_is_followed(watched: WatchedStore):
    watched.publish("b2")
    live = LiveIndex(watched, FINGERPRINT, check_seconds=0)
    assert build_of(live) == "b2"
    watched.rollback()
    assert build_of(live) == "b1"
    live.close()


@one_engine
def test_the_store_is_asked_at_most_once_per_interval(watched: WatchedStore):
    watched.publish("b1")
    live = LiveIndex(watched, FINGERPRINT, check_seconds=60)
    assert {build_of(live) for _ in range(50)} == {"b1"}
    watched.publish("b2")
    assert build_of(live) == "b1"
    assert watched.asked == 1
    live.close()


@one_engine
def test_nothing_published_says_what_to_do_and_is_served_as_soon_as_it_is(watched: WatchedStore):
    live = LiveIndex(watched, FINGERPRINT, check_seconds=60)
    with pytest.raises(IndexUnavailableError, match="indexer rebuild CATALOG"):
        build_of(live)
    watched.publish("b1")
    assert build_of(live) == "b1"
    live.close()


@one_engine
def test_an_index_of_another_model_is_refused(watched: WatchedStore):
    watched.publish("b1")
    live = LiveIndex(watched, "another-model")
    with pytest.raises(ModelError, match=r"\(colour-words-1\).*another-model; .*MOON_MODEL.*indexer rebuild"):
        build_of(live)
    assert watched.closed == watched.opened == ["b1"]


@one_engine
def test_the_old_build_stays_when_the_new_one_is_of_another_model(watched: WatchedStore, caplog):
    load(watched, "b3", make_points(5), fingerprint="another-model")
    watched.publish("b2")
    live = LiveIndex(watched, FINGERPRINT, check_seconds=0)
    assert build_of(live) == "b2"
    watched.publish("b3")
    with caplog.at_level(logging.ERROR):
        assert [build_of(live) for _ in range(3)] == ["b2"] * 3
    assert len(caplog.records) == 1
    assert "still serving build b2" in caplog.text
    watched.publish("b1")
    assert build_of(live) == "b1"
    live.close()


@one_engine
def test_the_old_build_stays_when_the_store_fails(watched: WatchedStore, monkeypatch: pytest.MonkeyPatch, caplog):
    watched.publish("b1")
    live = LiveIndex(watched, FINGERPRINT, check_seconds=0)
    assert build_of(live) == "b1"

    def fail() -> str:
        raise IndexUnavailableError("the Qdrant server does not answer")

    monkeypatch.setattr(watched, "published", fail)
    assert [build_of(live) for _ in range(3)] == ["b1"] * 3
    assert caplog.text.count("does not answer") == 1
    monkeypatch.undo()
    assert build_of(live) == "b1"
    monkeypatch.setattr(watched, "published", fail)
    assert build_of(live) == "b1"
    assert caplog.text.count("does not answer") == 2
    live.close()


@one_engine
def test_a_build_of_a_newer_version_is_not_served(watched: WatchedStore, monkeypatch: pytest.MonkeyPatch, caplog):
    load(watched, "b3", make_points(5), version=MANIFEST_VERSION + 1)
    watched.publish("b1")
    live = LiveIndex(watched, FINGERPRINT, check_seconds=0)
    assert build_of(live) == "b1"
    monkeypatch.setattr(watched, "published", lambda: "b3")
    assert build_of(live) == "b1"
    assert "newer version" in caplog.text
    live.close()
