"""A rebuild after few changes copies the published build and loads only what has changed."""

import hashlib
import shutil

import numpy as np
import pytest

from app.schema import Filters
from app.store.edge_writer import EdgeWriter
from indexer import build


@pytest.fixture
def shop(shop, tmp_path_factory, embedder):
    """A shop of 30 products, of which one change is few."""
    return type(shop)(tmp_path_factory.mktemp("shop"), embedder, size=30)


@pytest.fixture
def loaded(monkeypatch):
    """Ids of the products that are written to builds, in no order."""
    ids = []
    add = EdgeWriter.add

    def counted(self, points):
        ids.extend(point.product.id for point in points)
        add(self, points)

    monkeypatch.setattr(EdgeWriter, "add", counted)
    return ids


def contents(shop):
    """What the published build holds and finds, but for its manifest."""
    index = shop.store.open(shop.store.published())
    ids = sorted(row["id"] for row in shop.rows)
    vectors = index.vectors(ids)
    hits = [round(hit.score, 5) for vector in vectors for hit in index.search(vector, Filters(), 5)]
    found = index.get(ids), vectors.tolist(), hits, index.facets("color", Filters()), index.count(Filters())
    index.close()
    return found


def test_only_new_and_changed_products_are_loaded_and_gone_ones_removed(shop, loaded):
    shop.rebuild()
    loaded.clear()
    shop.rows[3]["price"] = 99.5
    shop.rows[4]["title"] = "gold stool"
    del shop.rows[5]
    shop.rows.append({**shop.rows[0], "id": "new"})
    outcome = shop.rebuild()
    assert sorted(loaded) == ["chair-3", "chair-4", "new"]
    assert (outcome.products, outcome.recall) == (30, 1.0)
    assert shop.product("chair-3").numbers == {"price": 99.5}
    assert shop.product("chair-4").title == "gold stool"
    assert "chair-5" not in shop.published_ids()


def test_a_copy_with_the_changes_equals_a_build_from_nothing(shop):
    shop.rebuild()
    shop.rows[3]["attributes"] = {"color": ["gold", "red"]}
    del shop.rows[7]
    shop.rebuild()
    copied = contents(shop)
    shutil.rmtree(shop.settings.data / "builds")
    shop.rebuild()
    assert contents(shop) == copied


def test_copies_of_copies_follow_the_catalog(shop, loaded):
    shop.rebuild()
    for place in range(6):
        loaded.clear()
        shop.rows[place]["price"] = 500.0 + place
        shop.rebuild()
        assert loaded == [f"chair-{place}"]
    assert [shop.product(f"chair-{place}").numbers["price"] for place in range(7)] == [*range(500, 506), 16.0]


def test_the_build_that_was_copied_stays_as_it_was(shop):
    def files():
        folder = shop.settings.data / "builds" / first
        return {
            file: hashlib.sha256(file.read_bytes()).digest()
            for file in folder.rglob("*")
            if file.is_file() and file.name != "edge_config.json"
        }

    first = shop.rebuild().build
    before = files()
    shop.rows[3]["price"] = 99.5
    shop.rebuild()
    assert files() == before
    assert shop.store.rollback() == first
    assert shop.product("chair-3").numbers == {"price": 13.0}


@pytest.mark.parametrize(
    ("cause", "change"),
    [
        ("many changes", lambda shop: [row.update(price=1.0) for row in shop.rows[:7]]),
        ("another attribute", lambda shop: shop.rows[0].update(attributes={"size": ["l"]})),
        ("longer texts", lambda shop: shop.rows[0].update(title="chair " * 30)),
        ("another model", lambda shop: setattr(shop.embedder, "fingerprint", "colour-words-2")),
        ("a lost record", lambda shop: shutil.rmtree(shop.settings.data / "records")),
        ("a torn record", lambda shop: next((shop.settings.data / "records").iterdir()).write_bytes(b"PAR1")),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_every_product_is_loaded_anew_after(shop, loaded, cause, change):
    shop.rebuild()
    loaded.clear()
    shop.rows[1]["price"] = 2.0
    change(shop)
    shop.rebuild()
    assert len(loaded) == 30


@pytest.mark.parametrize("damaged", ["segments", "edge_config.json"])
def test_a_base_that_is_damaged_costs_the_copy_and_not_the_run(shop, loaded, damaged):
    broken = shop.settings.data / "builds" / shop.rebuild().build / "shard" / damaged
    shutil.rmtree(broken) if broken.is_dir() else broken.write_text("{")
    loaded.clear()
    shop.rows[3]["price"] = 99.5
    outcome = shop.rebuild()
    assert set(loaded) == {row["id"] for row in shop.rows}
    assert (outcome.changed, len(shop.published_ids())) == (True, 30)


def test_a_copy_whose_search_is_not_good_enough_is_made_again_from_nothing(shop, loaded, monkeypatch):
    shop.rebuild()
    loaded.clear()
    recalls = iter([0.5] * 31)
    true_recall = build._recall
    monkeypatch.setattr(build, "_recall", lambda index, vector: next(recalls, None) or true_recall(index, vector))
    shop.rows[3]["price"] = 99.5
    outcome = shop.rebuild()
    assert (len(loaded), outcome.recall) == (31, pytest.approx(1.0, abs=0.03))
    assert shop.store.published() == outcome.build


def test_a_copy_that_holds_other_texts_is_not_published(shop, monkeypatch):
    shop.rebuild()
    record = next((shop.settings.data / "records").iterdir())
    shop.rows[3]["title"] = "gold stool"
    shop.rebuild()
    newest = shop.settings.data / "records" / f"{shop.store.published()}.parquet"
    stale, shop.rows[3]["title"] = record, "green chair 3"
    shutil.copy(stale, newest)
    outcome = shop.rebuild()
    assert outcome.changed
    assert shop.product("chair-3").title == "green chair 3"


def test_the_record_of_a_dropped_build_is_deleted(shop):
    shop.settings.keep_builds = 2
    for price in range(4):
        shop.rows[0]["price"] = 100.0 + price
        shop.rebuild()
    records = {file.stem for file in (shop.settings.data / "records").iterdir()}
    assert records == {manifest.build for manifest in shop.store.builds()}


def test_holes_of_a_build_stay_holes_in_its_copy(shop):
    first = shop.rebuild().build
    shop.rows[0]["price"] = 1.0
    second = shop.rebuild().build
    assert shop.store.disk_bytes(second) < shop.store.disk_bytes(first) + 5e6
    assert np.isclose(shop.product("chair-0").numbers["price"], 1.0)
