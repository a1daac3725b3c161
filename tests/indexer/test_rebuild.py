import dataclasses
import doctest
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from qdrant_client import QdrantClient

from app.errors import BadInputError, CatalogError, IndexUnavailableError, ModelError
from app.schema import Filters, Query
from app.store.server import ServerStore
from indexer import rebuild as rebuild_module
from indexer.keeping import only_one_writer
from indexer.rebuild import rebuild

DEMO = Path(__file__).parents[2] / "demo" / "catalog.parquet"


def test_the_examples_in_the_documentation_hold():
    assert doctest.testmod(rebuild_module).failed == 0


def vector_files(shop):
    return sorted((shop.settings.data / "vectors" / shop.embedder.fingerprint).glob("part-*.parquet"))


def test_a_catalog_becomes_a_published_index_that_finds_its_products(shop):
    outcome = shop.rebuild()
    assert (outcome.changed, outcome.products, outcome.embedded) == (True, 10, 10)
    index = shop.store.open(shop.store.published())
    vectors, _ = shop.embedder.embed_queries([Query(text="green chair furniture chairs green 1")])
    assert index.search(vectors[0], Filters(), 1)[0].product.id == "chair-1"
    assert index.search(vectors[0], Filters(attributes={"color": ["blue"]}), 1)[0].product.id == "chair-2"
    manifest = index.manifest
    assert (manifest.products, manifest.rejected, manifest.warnings) == (10, 0, 0)
    assert (manifest.attribute_keys, manifest.number_keys) == (["color"], ["price"])
    assert (manifest.model, manifest.fingerprint, manifest.dimensions) == ("colour words", "colour-words-1", 64)
    assert set(manifest.timings) == {"read", "decode", "model", "encode", "write", "compare", "load"}


def test_a_second_rebuild_without_changes_neither_loads_the_model_nor_makes_a_build(shop):
    first = shop.rebuild()
    second = shop.rebuild()
    assert (second.changed, second.build, second.embedded) == (False, first.build, 0)
    assert (shop.loads, len(shop.store.builds())) == (0, 1)


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")
def test_a_qdrant_server_gets_the_same_index_from_the_same_vectors(shop):
    shop.rebuild()
    server = ServerStore(QdrantClient(":memory:"), "products")
    outcome = shop.rebuild(store=server)
    assert (outcome.changed, outcome.products, shop.loads) == (True, 10, 0)
    assert server.published() == outcome.build
    assert not shop.rebuild(store=server).changed


def test_a_build_of_an_earlier_format_is_replaced_without_the_model(shop):
    first = shop.rebuild()
    manifest = shop.settings.data / "builds" / first.build / "manifest.json"
    manifest.write_text(shop.store.builds()[0].model_copy(update={"version": 0}).model_dump_json())
    outcome = shop.rebuild()
    assert (outcome.changed, shop.loads) == (True, 0)


def test_a_changed_translation_reaches_the_words_of_the_index_without_the_model(shop):
    for row in shop.rows:
        row["titles"] = {"fr": "chaise"}
    shop.rebuild()
    shop.rows[3]["titles"] = {"fr": "fauteuil"}
    outcome = shop.rebuild()
    assert (outcome.changed, shop.loads) == (True, 0)
    index = shop.store.open(outcome.build)
    vector = index.vectors(["chair-0"])[0]
    worded = [c.point for c in index.candidates(vector, "Fauteuil", Filters(), 10) if c.share]
    assert [product.id for product in index.at(worded)] == ["chair-3"]
    index.close()


@pytest.mark.parametrize("damaged", ["edge_config.json", "segments"])
def test_a_published_build_that_is_damaged_is_replaced_without_the_model(shop, damaged):
    broken = shop.rebuild().build
    path = shop.settings.data / "builds" / broken / "shard" / damaged
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_text("{")
    outcome = shop.rebuild()
    assert (outcome.changed, outcome.embedded) == (True, 0)
    assert shop.store.published() == outcome.build != broken
    assert len(shop.published_ids()) == 10


def test_the_order_of_the_rows_is_no_change(shop):
    shop.rebuild()
    shop.rows.reverse()
    assert not shop.rebuild().changed


def test_a_new_price_reaches_the_index_without_the_model(shop):
    shop.rebuild()
    shop.rows[3]["price"] = 99.5
    outcome = shop.rebuild()
    assert (outcome.changed, outcome.embedded, shop.loads) == (True, 0, 0)
    assert shop.product("chair-3").numbers == {"price": 99.5}


@pytest.mark.parametrize("field", ["title", "category", "attributes", "picture"])
def test_a_change_that_the_model_sees_embeds_exactly_that_product(shop, field):
    shop.rebuild()
    changes = {"title": "new name", "category": ["Furniture", "Stools"], "attributes": {"color": ["gold"]}}
    if field == "picture":
        Image.new("RGB", (8, 8), "yellow").save(shop.folder / "images/3.png")
    else:
        shop.rows[3][field] = changes[field]
    outcome = shop.rebuild()
    assert (outcome.changed, outcome.embedded, shop.embedder.embedded_products) == (True, 1, 1)


def test_products_with_equal_content_share_one_vector(shop):
    shop.rows += [{**shop.rows[0], "id": "twin-1"}, {**shop.rows[0], "id": "twin-2"}]
    outcome = shop.rebuild()
    assert (outcome.products, shop.embedder.embedded_products) == (12, 10)
    assert shop.product("twin-2").title == shop.rows[0]["title"]


def test_a_deleted_product_disappears(shop):
    shop.rebuild()
    rows = list(shop.rows)
    del shop.rows[2]
    outcome = shop.rebuild()
    shop.rows = rows
    assert (outcome.products, outcome.embedded) == (9, 0)
    assert "chair-2" not in shop.published_ids()


def test_another_model_embeds_everything_and_keeps_the_vectors_of_the_first(shop):
    shop.rebuild()
    before = vector_files(shop)
    shop.embedder.fingerprint = "colour-words-2"
    assert shop.rebuild().embedded == 10
    assert all(file.exists() for file in before)


def test_a_broken_picture_costs_that_picture_and_is_reported_every_time(shop):
    (shop.folder / "images/0.png").write_bytes(b"no picture")
    (shop.folder / "images/1.png").unlink()
    for attempt in range(2):
        shop.rows[5]["price"] = 70.0 + attempt
        outcome = shop.rebuild()
        assert outcome.products == 10
        problems = {(p.severity, p.id, p.field): p for p in outcome.report.problems}
        assert set(problems) == {("warning", "chair-0", "images"), ("warning", "chair-1", "images")}
        assert "0.png: not a picture" in problems["warning", "chair-0", "images"].reason
    assert outcome.embedded == 0


def test_a_product_with_nothing_but_a_broken_picture_is_rejected(shop):
    (shop.folder / "images/0.png").write_bytes(b"no picture")
    shop.rows[0]["title"] = ""
    outcome = shop.rebuild()
    assert outcome.products == 9
    assert [(p.severity, p.id) for p in outcome.report.problems] == [("warning", "chair-0"), ("reject", "chair-0")]
    second = shop.rebuild()
    assert (second.changed, second.report.count("reject"), shop.loads) == (False, 1, 0)


def test_the_report_lists_every_problem(shop):
    shop.rows.append({**shop.rows[0], "id": ""})
    (shop.folder / "images/4.png").write_bytes(b"")
    outcome = shop.rebuild()
    table = pl.read_parquet(outcome.report_file)
    assert outcome.report_file == shop.settings.data / "reports" / f"{outcome.build}.parquet"
    assert table.select("severity", "id", "row", "field").rows() == [
        ("warning", "chair-4", 5, "images"),
        ("reject", "", 11, "id"),
    ]
    manifest = shop.store.builds()[0]
    assert (manifest.rejected, manifest.warnings) == (1, 1)


def test_a_catalog_of_rejects_leaves_the_published_build_alone(shop):
    first = shop.rebuild()
    for row in shop.rows:
        row["id"] = ""
    with pytest.raises(CatalogError, match="no product can be indexed, the published build stays"):
        shop.rebuild()
    assert shop.store.published() == first.build
    assert [manifest.build for manifest in shop.store.builds()] == [first.build]


def test_an_unreadable_catalog_leaves_the_published_build_alone(shop, tmp_path):
    first = shop.rebuild()
    shop.rows = [{"number": "1"}]
    with pytest.raises(CatalogError, match="no column 'id'"):
        shop.rebuild()
    assert shop.store.published() == first.build


def test_a_damaged_part_is_embedded_again(shop):
    shop.rebuild()
    damaged = vector_files(shop)[0]
    lost = pl.read_parquet(damaged).height
    damaged.write_bytes(damaged.read_bytes()[:-30])
    outcome = shop.rebuild()
    assert (outcome.changed, outcome.embedded) == (False, lost)
    assert damaged.with_suffix(".damaged").exists()


class Doctored:
    """A store whose builds, once opened, show what ``doctor`` makes of them."""

    def __init__(self, store, doctor):
        self._store = store
        self._doctor = doctor

    def __getattr__(self, name):
        return getattr(self._store, name)

    def open(self, build):
        index = self._store.open(build)
        self._doctor(index, index.count, index.vectors, index.search)
        return index


def loses_one(index, count, vectors, search):
    index.count = lambda filters: count(filters) - 1


def swaps_vectors(index, count, vectors, search):
    index.vectors = lambda ids: vectors(ids)[::-1]


def finds_little(index, count, vectors, search):
    index.search = lambda *args, exact=False: search(*args, exact=exact)[: None if exact else 3]


@pytest.mark.parametrize(
    ("doctor", "reason"),
    [
        (loses_one, "10 products instead of 11"),
        (swaps_vectors, "other vectors"),
        (finds_little, "only 30% of the true"),
    ],
)
def test_a_build_that_fails_its_verification_is_dropped_and_the_old_one_stays(shop, doctor, reason):
    first = shop.rebuild()
    shop.rows.append({**shop.rows[0], "id": "new"})
    with pytest.raises(IndexUnavailableError, match=reason):
        shop.rebuild(store=Doctored(shop.store, doctor))
    assert shop.store.published() == first.build
    assert [manifest.build for manifest in shop.store.builds()] == [first.build]


def test_old_builds_and_their_reports_are_dropped(shop):
    settings = shop.settings.model_copy(update={"keep_builds": 2})
    outcomes = []
    for price in range(4):
        shop.rows[0]["price"] = 1000.0 + price
        outcomes.append(shop.rebuild(settings=settings))
    kept = [outcome.build for outcome in outcomes[2:]]
    assert [manifest.build for manifest in shop.store.builds()] == kept[::-1]
    assert outcomes[3].dropped == [outcomes[1].build]
    assert sorted(file.stem for file in (settings.data / "reports").iterdir()) == kept


def test_a_rebuild_after_a_rollback_publishes_again(shop):
    first = shop.rebuild()
    shop.rows[0]["price"] = 77.0
    second = shop.rebuild()
    assert shop.store.rollback() == first.build
    third = shop.rebuild()
    assert third.changed
    assert third.build > second.build
    assert shop.product("chair-0").numbers == {"price": 77.0}


def test_two_rebuilds_at_once_are_refused(shop):
    with (
        only_one_writer(shop.settings.data),
        pytest.raises(IndexUnavailableError, match="another indexer is writing"),
    ):
        shop.rebuild()


def test_a_model_that_changed_under_way_is_refused(shop):
    model = dataclasses.replace(shop.model(), fingerprint="something else")
    with pytest.raises(ModelError, match="changed while it was being loaded"):
        shop.rebuild(model=model)
    assert shop.store.published() is None


def test_one_product_that_the_model_cannot_embed_costs_only_itself(shop, monkeypatch):
    embed = shop.embedder.embed_products

    def picky(products, images):
        if any(product.id == "chair-7" for product in products):
            raise RuntimeError("image features and image tokens do not match")
        return embed(products, images)

    monkeypatch.setattr(shop.embedder, "embed_products", picky)
    outcome = shop.rebuild()
    assert outcome.products == 9
    assert [(p.severity, p.id, p.field) for p in outcome.report.problems] == [("reject", "chair-7", "vector")]
    assert "do not match" in outcome.report.problems[0].reason


def test_one_vector_without_direction_costs_only_its_product(shop, monkeypatch):
    embed = shop.embedder.embed_products

    def nan_for_one(products, images):
        vectors = embed(products, images)
        vectors[[product.id == "chair-7" for product in products]] = np.nan
        return vectors

    monkeypatch.setattr(shop.embedder, "embed_products", nan_for_one)
    outcome = shop.rebuild()
    assert outcome.products == 9
    assert [(p.id, p.reason) for p in outcome.report.problems] == [
        ("chair-7", "the model gave a vector without direction")
    ]


def test_a_model_that_fails_on_everything_ends_the_run(shop, monkeypatch):
    def fail(products, images):
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(shop.embedder, "embed_products", fail)
    with pytest.raises(ModelError, match=r"all 4 products of a batch failed.*no kernel image"):
        shop.rebuild()
    assert shop.store.published() is None


def test_what_was_embedded_before_a_failure_is_not_embedded_again(shop, monkeypatch):
    embed = shop.embedder.embed_products
    calls = []

    def fails_late(products, images):
        calls.append(len(products))
        if len(calls) > 2:
            raise ModelError("the accelerator went away")
        return embed(products, images)

    monkeypatch.setattr(shop.embedder, "embed_products", fails_late)
    with pytest.raises(ModelError, match="went away"):
        shop.rebuild()
    monkeypatch.setattr(shop.embedder, "embed_products", embed)
    assert shop.rebuild().embedded == 2


def test_pictures_are_decoded_upright_and_small_in_the_order_of_the_catalog(shop, monkeypatch):
    Image.new("RGB", (3000, 1500), "red").save(shop.folder / "images/large.png")
    shop.rows[0]["images"] = ["images/large.png", "images/1.png"]
    sizes = {}
    embed = shop.embedder.embed_products

    def look(products, images):
        sizes.update(
            {product.id: [image.size for image in items] for product, items in zip(products, images, strict=True)}
        )
        return embed(products, images)

    monkeypatch.setattr(shop.embedder, "embed_products", look)
    shop.rebuild()
    assert sizes["chair-0"] == [(1024, 512), (8, 8)]
    assert sizes["chair-1"] == [(8, 8)]


def test_the_published_build_cannot_be_dropped_by_keeping_one(shop):
    settings = shop.settings.model_copy(update={"keep_builds": 1})
    shop.rebuild(settings=settings)
    shop.rows[0]["price"] = 3.0
    outcome = shop.rebuild(settings=settings)
    assert [manifest.build for manifest in shop.store.builds()] == [outcome.build]
    with pytest.raises(BadInputError):
        shop.store.drop(outcome.build)


@pytest.mark.slow
def test_real_products_and_pictures_are_indexed_and_then_nothing_changes(shop, embedder):
    absolute = pl.col("images").list.eval(pl.format("{}/{}", pl.lit(str(DEMO.parent)), pl.element()))
    pl.read_parquet(DEMO).head(200).with_columns(absolute).write_parquet(shop.catalog)
    first = rebuild(shop.catalog, shop.settings, shop.store, shop.model())
    assert (first.products, first.report.problems) == (200, [])
    assert 0 < first.embedded == embedder.embedded_products
    shop.loads = 0
    second = rebuild(shop.catalog, shop.settings, shop.store, shop.model())
    assert (second.changed, second.products, shop.loads) == (False, 200, 0)
