"""A build that is made to be looked at: kept without being published, beside those of the published model."""

from __future__ import annotations

import pytest
from qdrant_client import QdrantClient

from app.errors import NotFoundError
from app.store.edge import EdgeStore
from app.store.server import ServerStore
from indexer.keeping import record_path, report_path

NEW = "colour-words-2"


@pytest.fixture(params=["edge", "server"])
def shop(request, shop):
    """The shop, once per engine."""
    if request.param == "server":
        shop.store = ServerStore(QdrantClient(":memory:"), "products")
    return shop


pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")


def builds(shop):
    """Those that are kept, newest first, and of each whether it is on trial."""
    return [(manifest.build, manifest.on_trial) for manifest in shop.store.builds()]


def change(shop, price):
    shop.rows[0]["price"] = float(price)


def test_a_build_of_a_new_model_waits_beside_the_published_one(shop):
    first = shop.rebuild()
    trial = shop.rebuild(model=shop.model(NEW), publish=False)
    assert (trial.changed, trial.published, trial.embedded, trial.recall) == (True, False, 10, 1.0)
    assert shop.store.published() == first.build
    assert builds(shop) == [(trial.build, True), (first.build, False)]
    assert len(shop.published_ids()) == 10


def test_the_same_build_is_not_made_twice(shop):
    published = shop.rebuild()
    trial = shop.rebuild(model=shop.model(NEW), publish=False)
    again = shop.rebuild(model=shop.model(NEW), publish=False)
    assert (again.build, again.changed, again.published) == (trial.build, False, False)
    nothing = shop.rebuild(publish=False)
    assert (nothing.build, nothing.changed, nothing.published) == (published.build, False, True)


def test_a_published_trial_is_a_build_like_any_other(shop):
    first = shop.rebuild()
    trial = shop.rebuild(model=shop.model(NEW), publish=False)
    shop.store.publish(trial.build)
    unchanged = shop.rebuild(model=shop.model(NEW))
    assert (unchanged.build, unchanged.changed, unchanged.published) == (trial.build, False, True)
    assert shop.store.rollback() == first.build
    assert builds(shop) == [(trial.build, False), (first.build, False)]


def test_rebuilds_of_the_published_model_go_on_around_a_trial_and_do_not_crowd_it_out(shop):
    settings = shop.settings.model_copy(update={"keep_builds": 2})
    made = [shop.rebuild(settings=settings).build]
    trial = shop.rebuild(settings=settings, model=shop.model(NEW), publish=False).build
    for price in (100, 200, 300):
        change(shop, price)
        made.append(shop.rebuild(settings=settings).build)
    assert builds(shop) == [(made[3], False), (made[2], False), (trial, True)]
    assert record_path(settings, trial).exists()
    assert report_path(settings, trial).exists()
    assert shop.product("chair-0").numbers == {"price": 300.0}
    assert shop.store.rollback() == made[2]
    with pytest.raises(NotFoundError, match="no finished build older"):
        shop.store.rollback()


def test_a_trial_takes_no_place_of_a_build_to_go_back_to(shop):
    settings = shop.settings.model_copy(update={"keep_builds": 2})
    first = shop.rebuild(settings=settings).build
    change(shop, 100)
    second = shop.rebuild(settings=settings).build
    trial = shop.rebuild(settings=settings, model=shop.model(NEW), publish=False)
    assert trial.dropped == []
    assert builds(shop) == [(trial.build, True), (second, False), (first, False)]


def test_a_newer_trial_takes_the_place_of_the_older(shop):
    settings = shop.settings.model_copy(update={"keep_builds": 1})
    published = shop.rebuild(settings=settings).build
    older = shop.rebuild(settings=settings, model=shop.model(NEW), publish=False).build
    newer = shop.rebuild(settings=settings, model=shop.model("colour-words-3"), publish=False)
    assert newer.dropped == [older]
    assert builds(shop) == [(newer.build, True), (published, False)]
    assert not record_path(settings, older).exists()


def test_without_a_published_build_a_trial_can_be_the_first(shop):
    trial = shop.rebuild(publish=False)
    assert shop.store.published() is None
    assert builds(shop) == [(trial.build, True)]
    published = shop.rebuild()
    assert (published.changed, published.published) == (True, True)
    assert builds(shop) == [(published.build, False), (trial.build, True)]


def test_the_next_rebuild_copies_the_published_build_and_not_the_trial(shop, monkeypatch):
    bases = []
    create = type(shop.store).create

    def noted(self, manifest, base=None):
        bases.append(base)
        return create(self, manifest, base)

    monkeypatch.setattr(type(shop.store), "create", noted)
    published = shop.rebuild().build
    change(shop, 100)
    trial = shop.rebuild(publish=False)
    change(shop, 200)
    last = shop.rebuild()
    copied = published if isinstance(shop.store, EdgeStore) else None
    assert bases == [None, copied, copied]
    assert (trial.published, last.published) == (False, True)
    assert shop.product("chair-0").numbers == {"price": 200.0}
