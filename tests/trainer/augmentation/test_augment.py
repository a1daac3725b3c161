"""The whole way from a data set to a folder: what is made, of which products, and that a crash costs nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from app.errors import CatalogError
from tests.conftest import ColourWordEmbedder
from trainer.augmentation import augment as module
from trainer.augmentation import rooms
from trainer.augmentation.candidates import Workbench
from trainer.augmentation.config import KINDS
from trainer.augmentation.kept import KeptProducts
from trainer.augmentation.tables import REJECTS
from trainer.data.augmented import FILE, Augmented
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.open import open_corpus
from trainer.data.record import Item, Record
from trainer.data.splits import training_rows


class FlatEmbedder(ColourWordEmbedder):
    """Everything is alike, so that nothing is nearer to another product."""

    fingerprint = "flat"

    def embed_products(self, products, images):
        return np.eye(1, self.dimensions, dtype=np.float32).repeat(len(products), axis=0)

    def embed_queries(self, queries):
        return self.embed_products(queries, ()), [None] * len(queries)


def tables(folder: Path) -> list[pl.DataFrame]:
    return [pl.read_parquet(folder / name) for name in (FILE, REJECTS)]


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in (folder / "images").rglob("*.*")}


def training_ids(corpus) -> set[str]:
    return {corpus.item(corpus.record(row).positive).id for row in training_rows(corpus).train}


def test_titles_and_pictures_of_every_kind_are_made_of_training_products_alone(run, corpus):
    folder, found = run(by=FlatEmbedder())
    augmented, rejects = tables(folder)
    assert set(augmented["id"]) == training_ids(corpus)
    assert set(augmented["kind"]) | set(rejects["kind"]) == set(KINDS) - {"edited"}
    assert found.products == found.made == 10
    assert augmented.filter(kind="title")["title"].is_not_null().all()
    paths = augmented.filter(pl.col("kind") != "title")["path"].to_list()
    assert set(paths) <= pictures(folder).keys()
    for path in paths:
        Image.open(folder / path).verify()


def test_a_product_that_other_records_ask_for_is_left_out_with_all_skus_of_its_model(run, corpus, monkeypatch):
    rows = training_rows(corpus)
    held_back = corpus.item(corpus.record(rows.train[0]).positive)
    others = np.array([row for row in rows.train if corpus.item(corpus.record(row).positive).id != held_back.id])
    monkeypatch.setattr(module, "training_rows", lambda _: type(rows)(others, rows.dev))
    folder, found = run()
    assert (found.products, found.held_out) == (8, 2)
    groups = {corpus.item(row).id: corpus.item(row).group for row in range(corpus.items)}
    assert held_back.group not in {groups[name] for name in tables(folder)[0]["id"]}


def test_a_second_run_makes_nothing_and_gives_the_same(run):
    folder, first = run()
    before = tables(folder)
    embedder = ColourWordEmbedder()
    _, second = run(by=embedder)
    assert (first.made, second.made, embedder.embedded_products) == (10, 0, 0)
    assert all(a.equals(b) for a, b in zip(before, tables(folder), strict=True))


class DyingEmbedder(ColourWordEmbedder):
    """Kills its process, as nothing can be prepared for, when it is asked for the third batch."""

    def embed_products(self, products, images):
        if self.embedded_products >= 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_products(products, images)


def test_a_run_that_was_killed_goes_on_and_ends_like_an_unbroken_one(run, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    unbroken, _ = run("unbroken")
    process = get_context("fork").Process(target=run, args=("killed",), kwargs={"by": DyingEmbedder()})
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    killed, found = run("killed")
    assert (found.products, found.made) == (10, 4)
    assert all(a.equals(b) for a, b in zip(tables(killed), tables(unbroken), strict=True))
    assert pictures(killed) == pictures(unbroken)


def test_only_what_changed_is_made_again(run, home_folder, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(home_folder, home)
    corpora = [open_corpus(home, cache=tmp_path / "corpora")]
    run(data=corpora[0], by=FlatEmbedder())
    catalog = pl.read_parquet(home / "catalog.parquet")
    first = pl.col("id") == min(training_ids(corpora[0]))
    title = pl.when(first).then(pl.lit("Crimson throne")).otherwise(pl.col("title"))
    catalog.with_columns(title.alias("title")).write_parquet(home / "catalog.parquet")
    folder, found = run(data=open_corpus(home, cache=tmp_path / "corpora"), by=FlatEmbedder())
    assert (found.products, found.made) == (10, 1)
    assert "Crimson throne" in "".join(tables(folder)[0]["title"].drop_nulls())


def test_pictures_that_have_moved_are_named_where_they_lie_now_and_are_shown_in_training(run, home_folder, tmp_path):
    homes = [tmp_path / "home", tmp_path / "moved"]
    shutil.copytree(home_folder, homes[0])
    run(data=open_corpus(homes[0], cache=tmp_path / "corpora"), by=FlatEmbedder())
    homes[0].rename(homes[1])
    data = open_corpus(homes[1], cache=tmp_path / "corpora")
    folder, found = run(data=data, by=FlatEmbedder())
    assert (found.products, found.made) == (10, 0)
    augmented, rejects = tables(folder)
    assert augmented.filter(pl.col("picture") != "")["picture"].str.starts_with(str(homes[1])).all()
    assert not any(str(homes[0]) + "/" in what for what in rejects["what"])
    assert "scene" in set(augmented["kind"])
    train = training_rows(data).train
    shown = Augmented.open(folder, data, train, 1.0)
    item = data.item(data.record(train[0]).positive)
    varied = [shown.vary([item], lambda *_: None, False, random.Random(n))[0] for n in range(20)]
    assert any(own.location.startswith(str(folder)) for one in varied for own in one.pictures)


def test_a_scene_whose_room_is_held_out_now_is_rejected_though_it_was_made_before(run, corpus, monkeypatch):
    folder, _ = run(by=FlatEmbedder())
    assert "scene" in set(tables(folder)[0]["kind"])
    monkeypatch.setattr(rooms, "held_out_pictures", lambda corpus, train, locations: set(locations))
    source = Workbench.source
    monkeypatch.setattr(Workbench, "source", lambda bench, item: source(replace(bench, rooms=None), item))
    folder, found = run(by=FlatEmbedder())
    augmented, rejects = tables(folder)
    assert found.made == 0
    assert "scene" not in set(augmented["kind"])
    assert "the photo of its room is none of the training data any more" in set(rejects.filter(kind="scene")["reason"])


def test_where_there_are_no_rooms_scenes_are_tried_again_when_there_are(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(rooms, "held_out_pictures", lambda corpus, train, locations: set(locations))
        folder, _ = run(by=FlatEmbedder())
        assert "scene" not in set(tables(folder)[0]["kind"])
    folder, found = run(by=FlatEmbedder())
    assert found.made == 10
    assert "scene" in set(tables(folder)[0]["kind"])


def test_titles_are_judged_anew_when_the_names_of_other_records_change(run, tmp_path):
    def augmented(brand: str) -> tuple[set[str], int]:
        words = {"attributes": {"note": ("soft seat",)}}
        items = [Item("1", "Tall red chair"), Item("2", "Tall lamp", **words), Item("3", "Tall red sofa", **words)]
        items.append(Item("4", "Tall red bench", attributes={"brand": (brand,)}))
        with CorpusWriter(tmp_path / brand, {"name": "data", "format": "shop", "fingerprint": brand}) as writer:
            writer.add_catalog([*items, Item("5", "Held out")])
            for item in items:
                writer.add(Record(item.id, text="x"))
            writer.add(Record("5", text="x", split="dev"))

        def write(item, image, rng):
            return f"{item.title}, soft", ""

        wishes = {"titles": "model", "model": "m", "pictures": ()}
        folder, found = run(data=Corpus(tmp_path / brand), by=FlatEmbedder(), write_title=write, **wishes)
        return set(tables(folder)[0].filter(kind="title")["id"]), found.made

    assert augmented("Acme") == ({"1", "2", "3", "4"}, 4)
    assert augmented("Soft") == ({"2", "3", "4"}, 1)


def test_what_is_far_from_its_product_is_rejected_with_score_and_reason(run):
    folder, found = run(min_score=1.0)
    augmented, rejects = tables(folder)
    assert augmented.is_empty()
    far = rejects.filter(pl.col("score").is_not_null())
    assert set(far["reason"]) == {"score below 1"}
    assert found.outcome.reasons["score below 1"] == len(far)


def test_what_is_far_from_its_category_is_rejected(run):
    _, rejects = tables(run(min_category_score=0.99)[0])
    assert rejects.filter(kind="title")["reason"].str.contains("score with the category, .*, below 0.99").all()


class LyingEmbedder(ColourWordEmbedder):
    """Takes every query for the first product that it was shown."""

    fingerprint = "lying"

    def embed_products(self, products, images):
        vectors = super().embed_products(products, images)
        self.first = getattr(self, "first", vectors[0])
        return vectors

    def embed_queries(self, queries):
        return np.stack([self.first] * len(queries)), [None] * len(queries)


def test_what_is_nearer_to_a_product_of_another_model_is_rejected(run, corpus):
    folder, _ = run(by=LyingEmbedder())
    augmented, rejects = tables(folder)
    first = min(training_rows(corpus).train, key=lambda row: corpus.record(row).positive)
    own = corpus.item(corpus.record(first).positive)
    assert own.id in set(augmented["id"])
    near = rejects.filter(pl.col("reason").str.starts_with(f"nearer to {own.id} "))
    groups = {corpus.item(row).id: corpus.item(row).group for row in range(corpus.items)}
    assert {groups[name] for name in near["id"]} == {groups[name] for name in training_ids(corpus)} - {own.group}


def test_a_picture_that_cannot_be_read_is_listed_and_costs_nothing_else(run, home_folder, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(home_folder, home)
    data = open_corpus(home, cache=tmp_path / "corpora")
    product = data.item(data.record(training_rows(data).train[0]).positive)
    Path(product.pictures[0].location).unlink()
    augmented, rejects = tables(run(data=data, by=FlatEmbedder())[0])
    (row,) = rejects.filter(kind="picture").to_dicts()
    assert (row["id"], row["what"]) == (product.id, product.pictures[0].location)
    assert "cannot be read" in row["reason"]
    assert {"title", "crop", "light"} <= set(augmented.filter(id=product.id)["kind"])


def test_titles_of_a_model_pass_the_rules_or_are_listed_with_what_it_wrote(run):
    answers = iter([("Vitra chair for 4", ""), ("what?", "the answer is not JSON with a title alone")])

    def write(item, image, rng):
        assert image is not None
        return next(answers, (f"{item.title} {item.category[0]}", ""))

    wishes = {"titles": "model", "model": "m", "pictures": ()}
    augmented, rejects = tables(run(by=FlatEmbedder(), write_title=write, **wishes)[0])
    assert rejects.sort("reason").select("what", "reason").rows() == [
        ("Vitra chair for 4", "'4' is not in the record"),
        ("what?", "the answer is not JSON with a title alone"),
    ]
    assert len(augmented) == 8
    assert augmented["title"].str.ends_with(" Home").all()


def test_edited_pictures_come_from_the_editor(run):
    def edit(item, image, rng):
        return Image.new("RGB", (40, 30), "red" if "Red" in item.title else "blue")

    folder, _ = run(edit=edit, editor="e", pictures=(), titles="none")
    augmented, _ = tables(folder)
    assert set(augmented["kind"]) == {"edited"}
    with Image.open(folder / augmented["path"][0]) as image:
        assert image.size == (40, 30)


def test_the_sheet_shows_rejected_and_worst_ones_before_those_drawn_at_random(run):
    def write(item, image, rng):
        return ("Vitra chair", "") if item.title == "Red chair" else (f"{item.title} {item.category[0]}", "")

    folder, _ = run(by=FlatEmbedder(), write_title=write, titles="model", model="m", pictures=("light",))
    page = (folder / "sheet.html").read_text()
    chapters = [page.index(f"<h2>{name}</h2>") for name in ("Rejected", "Least scores", "Products")]
    assert chapters == sorted(chapters)
    rejected, worst = page[chapters[0] : chapters[1]], page[chapters[1] : chapters[2]]
    assert rejected.count("<section>") == 1
    assert "Vitra chair · 1.00 · &#x27;Vitra&#x27; is not in the record" in rejected
    assert worst.count("<section>") == 19
    assert page[chapters[2] :].count("<section>") == 10


def test_the_sheet_escapes_what_the_data_say(run, tmp_path):
    hostile = {"title": "<script>alert(1)</script>", "category": ("<b>",), "attributes": {"a<i>": ('"><u>',)}}
    with CorpusWriter(tmp_path / "hostile", {"name": "<h6>", "format": "shop", "fingerprint": "f"}) as writer:
        writer.add_catalog(Item(name, **hostile) for name in ("<1>", "<2>", "<3>"))
        for name, split in (("<1>", "train"), ("<2>", "train"), ("<3>", "dev")):
            writer.add(Record(name, text="x", split=split))
    folder, _ = run(data=Corpus(tmp_path / "hostile"))
    page = (folder / "sheet.html").read_text()
    assert "&lt;script&gt;" in page
    for tag in ("<script", "<b>", "<i>", "<u>", "<h6>", "<1>"):
        assert tag not in page


def test_two_runs_in_one_folder_are_refused(run, tmp_path):
    with KeptProducts(tmp_path / "out"), pytest.raises(CatalogError, match="another run adds to it"):
        run()


def test_data_whose_products_are_all_asked_for_by_test_records_are_refused(run, tmp_path):
    with CorpusWriter(tmp_path / "data", {"name": "data", "format": "shop", "fingerprint": "f"}) as writer:
        writer.add_catalog(Item(name, f"Chair {name}") for name in ("1", "2"))
        for name in ("1", "2"):
            for split in ("train", "dev", "test"):
                writer.add(Record(name, text="x", split=split))
    with pytest.raises(CatalogError, match="never augmented"):
        run(data=Corpus(tmp_path / "data"))
