"""Builds are invisible until they are finished, published atomically, rolled back and dropped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from qdrant_edge import EdgeOptimizersConfig
from store_samples import DIMENSIONS, load, make_manifest, make_points

from app.errors import BadInputError, CatalogError, IndexUnavailableError, NotFoundError
from app.schema import Filters, Product, payload_of, product_of
from app.settings import Settings
from app.store import open_store
from app.store.base import MANIFEST_VERSION, Point, Store
from app.store.edge import EdgeStore

texts = st.text(max_size=30)
keys = st.text(min_size=1, max_size=10)
thousandths = st.integers(-(10**12), 10**12).map(lambda number: number / 1000)
products = st.builds(
    Product,
    id=st.text(min_size=1, max_size=30),
    title=texts | st.sampled_from(["<script>alert(1)</script>", "${7*7}{{x}}", "\x00", "👩‍👩‍👧‍👦 ﷽", "\\u0041\"'"]),
    titles=st.dictionaries(keys, texts, max_size=3),
    group_id=st.none() | texts,
    category=st.lists(texts, max_size=3),
    attributes=st.dictionaries(keys, st.lists(texts, max_size=3), max_size=3),
    numbers=st.dictionaries(keys, thousandths, max_size=3),
    images=st.lists(texts, max_size=2),
    url=st.none() | texts,
    attribution=st.none() | texts,
)


@given(products)
def test_a_product_survives_its_payload(product: Product):
    assert product_of(payload_of(product)) == product


@settings(
    max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(products, min_size=1, max_size=20, unique_by=lambda product: product.id))
def test_products_survive_the_store(store: Store, rows: list[Product]):
    build = f"b{len(store.builds())}"
    load(store, build, [Point(row, make_points(1)[0].vector) for row in rows])
    index = store.open(build)
    assert index.get([row.id for row in rows]) == rows
    index.close()


def test_nothing_is_published_at_first(store: Store):
    assert store.published() is None
    assert store.builds() == []
    with pytest.raises(IndexUnavailableError, match="indexer rebuild"):
        store.rollback()


def test_a_finished_build_is_listed_and_can_be_verified_before_it_is_published(store: Store):
    manifest = load(store, "b1", make_points())
    assert store.builds() == [manifest]
    assert store.published() is None
    index = store.open("b1")
    assert index.count(Filters()) == 60
    assert index.manifest == manifest
    index.close()
    store.publish("b1")
    assert store.published() == "b1"


def test_an_unfinished_build_is_invisible(store: Store):
    with store.create(make_manifest("b1")) as writer:
        writer.add(make_points())
        assert store.builds() == []
        for refuse in (store.open, store.publish):
            with pytest.raises(IndexUnavailableError, match="b1"):
                refuse("b1")
    assert store.builds() == []


def test_a_failed_build_leaves_nothing_behind(store: Store):
    manifest = make_manifest("b1")
    writer = store.create(manifest)
    writer.add(make_points())
    failure = RuntimeError("embedding failed")
    writer.__exit__(RuntimeError, failure, None)
    load(store, "b1", make_points(5))
    assert [manifest.products for manifest in store.builds()] == [5]


def test_the_manifest_given_last_counts(store: Store):
    with store.create(make_manifest("b1")) as writer:
        writer.add(make_points())
        writer.finish(make_manifest("b1", products=60, rejected=3, timings={"embed": 1.5}))
    [manifest] = store.builds()
    assert (manifest.products, manifest.rejected, manifest.timings) == (60, 3, {"embed": 1.5})


@pytest.mark.parametrize("changes", [{"attribute_keys": ["colour"]}, {"dimensions": 8}, {"build": "b2"}])
def test_a_build_cannot_be_finished_as_something_else(store: Store, changes: dict[str, object]):
    with store.create(make_manifest("b1")) as writer, pytest.raises(ValueError, match=next(iter(changes))):
        writer.finish(make_manifest("b1").model_copy(update=changes))
    assert store.builds() == []


def test_adding_a_product_again_replaces_it(store: Store):
    points = make_points(2)
    manifest = make_manifest("b1")
    with store.create(manifest) as writer:
        writer.add(points)
        writer.add([Point(points[0].product.model_copy(update={"title": "new"}), points[1].vector)])
        writer.finish(manifest)
    index = store.open("b1")
    assert index.count(Filters()) == 2
    assert index.get(["sku/0"])[0].title == "new"
    np.testing.assert_allclose(index.vectors(["sku/0"])[0], points[1].vector, atol=1e-6)
    index.close()


def test_removed_products_are_not_in_the_build(store: Store):
    with store.create(make_manifest("b1")) as writer:
        writer.add(make_points(5))
        writer.remove(["sku/0", "sku/3", "unknown"])
        writer.finish(make_manifest("b1"))
    index = store.open("b1")
    assert index.count(Filters()) == 3
    with pytest.raises(NotFoundError, match="sku/3"):
        index.get(["sku/1", "sku/3"])
    index.close()


@pytest.mark.parametrize(
    "changes", [{"attribute_keys": ["colour"]}, {"dimensions": 8}, {"mean_words": 3.0}, {"fingerprint": "another"}]
)
def test_a_build_of_another_layout_is_not_copied(tmp_path: Path, changes: dict[str, object]):
    store = EdgeStore(tmp_path)
    load(store, "b1", make_points(5))
    with pytest.raises(ValueError, match=next(iter(changes))):
        store.create(make_manifest("b2", **changes), "b1")
    load(store, "b2", make_points(1), **{key: value for key, value in changes.items() if key == "fingerprint"})


@pytest.mark.slow
def test_changes_of_a_copy_get_a_graph_of_their_own_and_leave_that_of_the_base(tmp_path: Path):
    def segments(build: str) -> set[str]:
        return {folder.name for folder in (tmp_path / build / "shard" / "segments").iterdir()}

    store = EdgeStore(tmp_path)
    manifest = make_manifest("b2", dimensions=1024)
    vectors = np.random.default_rng(0).normal(size=(9000, 1024)).astype(np.float32)
    points = [Point(Product(id=str(row)), vector) for row, vector in enumerate(vectors)]
    with store.create(manifest.model_copy(update={"build": "b1"})) as writer:
        writer.add(points[:6000])
        writer.finish(manifest.model_copy(update={"build": "b1"}))
    with store.create(manifest, "b1") as writer:
        writer.add(points[6000:])
        writer.finish(manifest)
    assert len(segments("b1") & segments("b2")) >= 1
    index = store.open("b2")
    assert index.count(Filters()) == 9000
    index.close()


def test_a_vector_that_means_nothing_is_refused_by_product(store: Store):
    broken = {
        "NaN": np.full(DIMENSIONS, np.nan),
        "infinite": np.full(DIMENSIONS, np.inf),
        "zero": np.zeros(DIMENSIONS),
        r"shape \(17,\)": np.ones(DIMENSIONS + 1),
        r"shape \(1, 16\)": np.ones((1, DIMENSIONS)),
    }
    with store.create(make_manifest("b1")) as writer:
        for problem, vector in broken.items():
            with pytest.raises(ValueError, match=f"'broken'.*{problem}"):
                writer.add([*make_points(3), Point(Product(id="broken"), vector.astype(np.float32))])
        writer.finish(make_manifest("b1"))
    index = store.open("b1")
    assert index.count(Filters()) == 0
    index.close()


def test_a_number_that_is_not_finite_is_refused_by_product(store: Store):
    point = Point(Product(id="broken", numbers={"price": float("nan")}), make_points(1)[0].vector)
    with store.create(make_manifest("b1")) as writer, pytest.raises(ValueError, match="'broken' has price"):
        writer.add([point])


@pytest.mark.parametrize("key", ['9" wide', ""])
def test_an_attribute_key_that_cannot_be_addressed_is_refused(store: Store, key: str):
    with pytest.raises(CatalogError, match="rename it"):
        store.create(make_manifest("b1", attribute_keys=[key]))
    load(store, "b1", make_points(1))


def test_rollback_goes_one_build_back_and_then_ends(store: Store):
    for build in ("b1", "b2", "b3"):
        load(store, build, make_points(5))
        store.publish(build)
    assert [manifest.build for manifest in store.builds()] == ["b3", "b2", "b1"]
    assert store.rollback() == "b2"
    assert store.published() == "b2"
    assert store.rollback() == "b1"
    with pytest.raises(NotFoundError, match="b1"):
        store.rollback()
    assert store.published() == "b1"


def test_rollback_passes_over_a_build_on_trial_until_it_was_published(store: Store):
    load(store, "b1", make_points(5))
    load(store, "b2", make_points(5), on_trial=True)
    load(store, "b3", make_points(5))
    store.publish("b3")
    assert store.rollback() == "b1"
    store.publish("b2")
    assert [manifest.on_trial for manifest in store.builds()] == [False, False, False]
    store.publish("b3")
    assert store.rollback() == "b2"
    index = store.open("b2")
    assert index.count(Filters()) == 5
    index.close()


def test_drop_deletes_all_but_the_published_build(store: Store):
    for build in ("b1", "b2"):
        load(store, build, make_points(5))
    store.publish("b2")
    with pytest.raises(BadInputError, match="published"):
        store.drop("b2")
    store.drop("b1")
    assert [manifest.build for manifest in store.builds()] == ["b2"]
    with pytest.raises(NotFoundError, match="b1"):
        store.drop("b1")


def test_dropped_build_can_be_read_by_who_still_has_it_open(tmp_path: Path):
    store = EdgeStore(tmp_path)
    load(store, "b1", make_points())
    index = store.open("b1")
    store.drop("b1")
    assert len(index.search(make_points()[0].vector, Filters(category=["Lighting"]), limit=60)) == 20
    index.close()


def test_a_build_id_is_used_once(store: Store):
    load(store, "b1", make_points(5))
    with pytest.raises(BadInputError, match="exists"):
        store.create(make_manifest("b1"))


def test_ids_that_no_build_can_have_are_refused(store: Store):
    load(store, "b1", make_points(1))
    for build in ("../b1", "", ".", "a b", "a/b", "b1\n"):
        for refuse in (store.open, store.publish, store.drop, lambda build: store.create(make_manifest(build))):
            with pytest.raises(NotFoundError, match="not a build id"):
                refuse(build)
    assert len(store.builds()) == 1


def test_a_build_of_a_newer_version_is_refused(store: Store):
    load(store, "b1", make_points(1))
    store.publish("b1")
    load(store, "b2", make_points(1), version=MANIFEST_VERSION + 1)
    for refuse in (store.open, store.publish):
        with pytest.raises(IndexUnavailableError, match="newer version"):
            refuse("b2")
    assert [manifest.build for manifest in store.builds()] == ["b1"]
    assert store.published() == "b1"


def test_settings_choose_the_embedded_engine_by_default(tmp_path: Path):
    store = open_store(Settings(data=tmp_path, _env_file=None))
    load(store, "b1", make_points(1))
    store.publish("b1")
    assert (tmp_path / "builds" / "CURRENT").read_text() == "b1"
    assert (tmp_path / "builds" / "b1" / "manifest.json").is_file()


def test_a_build_that_is_damaged_on_disk_is_named_with_what_to_do(tmp_path: Path):
    store = EdgeStore(tmp_path)
    load(store, "b1", make_points(5))
    (tmp_path / "b1" / "shard" / "edge_config.json").write_text("{")
    with pytest.raises(IndexUnavailableError, match=r"build b1 cannot be opened .*indexer rebuild"):
        store.open("b1")


def test_a_folder_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path):
    (tmp_path / "data").write_text("a file where a folder is expected")
    store = EdgeStore(tmp_path / "data" / "builds")
    for use in (store.published, store.rollback, lambda: store.create(make_manifest())):
        with pytest.raises(IndexUnavailableError, match=r"data/builds.*: Not a directory; check that .* MOON_DATA"):
            use()


def test_a_copy_that_grows_in_parts_holds_every_product_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.store.edge_writer.GROWING", 500)
    eager = partial(EdgeOptimizersConfig, indexing_threshold=10)  # kilobytes
    monkeypatch.setattr("app.store.edge_shard.EdgeOptimizersConfig", eager)
    points, store = make_points(1200), EdgeStore(tmp_path)
    moved = [Point(old.product, new.vector) for old, new in zip(points[:5], make_points(5, seed=1), strict=True)]
    load(store, "b1", points[:20])
    manifest = make_manifest("b2", products=len(points) - 1)
    with store.create(manifest, "b1") as writer:
        for start in range(0, len(points), 100):
            writer.add(points[start : start + 100])
        writer.add(moved)
        writer.remove([points[10].product.id])
        writer.finish(manifest)
    assert len(list((tmp_path / manifest.build / "shard" / "segments").iterdir())) >= 3
    index = store.open(manifest.build)
    assert index.count(Filters()) == len(points) - 1
    asked = [*moved, *points[5:10], *points[11::100]]
    assert [index.search(p.vector, Filters(), 1)[0].product.id for p in asked] == [p.product.id for p in asked]
    index.close()
