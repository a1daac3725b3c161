import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import app.moon
from app.errors import ModelError
from app.matryoshka import shortened
from app.schema import Product
from app.store.base import Manifest, Point
from app.store.edge import EdgeStore
from app.store.live import LiveIndex
from indexer import cli
from indexer.keeping import only_one_writer

SNAPSHOTS = Path(__file__).parent / "snapshots"
ROOT = Path(__file__).parents[2]


def assert_is_snapshot(output, name):
    """Compare with a file; delete the file and run once to renew it."""
    file = SNAPSHOTS / name
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(output)
        pytest.fail(f"{file} was missing and has been written; look at it and commit it")
    assert output == file.read_text()


@pytest.fixture
def indexer(shop, monkeypatch):
    """Run a command on the shop's data; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("MOON_DATA", str(shop.settings.data))
    monkeypatch.setenv("MOON_MODEL", "shop/colour-words")
    monkeypatch.setenv("COLUMNS", "80")
    fingerprint = shop.embedder.fingerprint
    monkeypatch.setattr(app.moon, "model_fingerprint", lambda path, settings: fingerprint, raising=False)
    monkeypatch.setattr(app.moon, "load_encoder", lambda settings: shop.embedder, raising=False)

    def run(*arguments):
        result = CliRunner().invoke(cli.cli, list(map(str, arguments)), prog_name="indexer")
        return result.exit_code, result.stdout, result.stderr

    return run


def test_rebuild_publishes_and_says_what_it_did(shop, indexer):
    code, output, _ = indexer("rebuild", shop.write())
    assert code == 0
    assert f"Published build {shop.store.published()}: 10 products, 10 newly embedded, recall 100.0%." in output
    assert "Rejected: 0. Warnings: 0." in output
    code, output, _ = indexer("rebuild", shop.catalog)
    assert code == 0
    assert output.startswith(f"Nothing changed: build {shop.store.published()} with 10 products stays published.")


def test_rebuild_with_rejects_publishes_and_exits_with_3(shop, indexer):
    shop.rows[4]["id"] = ""
    code, output, _ = indexer("rebuild", shop.write())
    assert code == 3
    assert "Rejected: 1. Warnings: 0." in output
    assert "1 x reject, id: give every product an id\n    row 5, no id: the id is missing" in output
    assert f"reports/{shop.store.published()}.parquet" in output


def test_validate_shows_a_preview_and_touches_nothing(shop, indexer):
    shop.rows[1]["title"] = "[bold]\x1b[31m$" + "{x}"
    (shop.folder / "images/3.png").write_bytes(b"torn")
    code, output, _ = indexer("validate", shop.write())
    assert code == 0
    assert f"{shop.catalog}: 10 products with 9 usable pictures." in output
    assert f"Columns of {shop.catalog}:\n    as named: id, title, category, attributes, price, images\n" in output
    assert (
        "chair-0: red chair 0\n    text: red chair 0 | Furniture > Chairs | color: red\n"
        "    pictures: 8 x 8 (1 named)\n    not seen by the model: price 10\n"
    ) in output
    assert "    pictures: none (1 named)\n" in output
    assert "chair-1: [bold]�[31m${x}\n" in output
    assert "chair-5" not in output
    assert "1 x warning, images: the product is indexed without this picture; replace or remove it" in output
    assert not shop.settings.data.exists()


def test_validate_exits_with_3_for_rejects_and_fails_without_a_usable_product(shop, indexer):
    shop.rows[0]["id"] = ""
    assert indexer("validate", shop.write())[0] == 3
    for row in shop.rows:
        row["id"] = ""
    assert indexer("validate", shop.write())[0] == 1


def test_validate_shows_which_column_was_taken_for_what(shop, indexer):
    file = shop.folder / "export.csv"
    file.write_text("SKU;Name;Farbe;Text;Preis;Lager\n1;Chair;red;Oak chair;1.299,00 €;9\n")
    code, output, _ = indexer("validate", file, "--map", "title=Text")
    assert code == 0
    assert (
        "    title: Text\n    id: SKU (a guess; --map changes it)\n"
        "    attributes.color: Farbe (a guess; --map changes it)\n    price: Preis (a guess; --map changes it)\n"
        "    as named: none\n    not used: Name, Lager\n"
    ) in output
    assert "1: Oak chair\n    text: Oak chair | color: red\n" in output
    assert "    not seen by the model: price 1299\n" in output


def test_rebuild_takes_a_mapping_and_an_archive(shop, indexer):
    mapping, archive = shop.folder / "columns.toml", shop.folder / "shop.zip"
    mapping.write_text('title = "text"\n')
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.csv", "id,text\n1,Chair\n")
        packed.writestr("b.csv", "id,text\n2,Desk\n,Lamp\n")
    code, output, _ = indexer("rebuild", archive, "--map", mapping)
    assert code == 3
    assert "2 products, 2 newly embedded" in output
    assert f"    zip://b.csv::{archive}, row 2, no id: the id is missing" in output
    assert shop.product("2").title == "Desk"


def test_a_mapping_that_makes_no_sense_is_one_line_on_stderr(shop, indexer, monkeypatch, capsys):
    assert run_main(monkeypatch, "validate", shop.write(), "--map", "colour=red") == 1
    assert capsys.readouterr().err.startswith("Error: colour=red: there is no field 'colour'; use one of id, title")


def test_status_without_an_index_says_how_to_make_one(indexer):
    assert indexer("status") == (0, "There is no index yet. Make one with: indexer rebuild CATALOG\n", "")


def test_status_lists_the_builds(shop, indexer, monkeypatch):
    sizes = {"20261120T060000-00000a": 9_400_000, "20261121T060000-00000b": 3_210_000_000}
    monkeypatch.setattr(EdgeStore, "disk_bytes", lambda store, build: sizes[build])
    for day, (build, products, rejected) in enumerate(
        [("20261120T060000-00000a", 9, 1), ("20261121T060000-00000b", 1561, 0)]
    ):
        manifest = Manifest(
            build=build,
            created=datetime.now(UTC) - timedelta(days=3 - 2 * day, hours=1),
            model="moon-starter",
            fingerprint="0123456789abcdef",
            dimensions=64,
            catalog="catalog.csv",
            catalog_hash=build,
            products=products,
            rejected=rejected,
            warnings=2,
        )
        with shop.store.create(manifest) as writer:
            writer.add([Point(Product(id="1", title="chair"), shop.embedder.embed_labels(["chair"], "category")[0])])
            writer.finish(manifest)
    shop.store.publish("20261120T060000-00000a")
    code, output, _ = indexer("status")
    assert code == 0
    assert_is_snapshot(output.replace(str(shop.settings.data), "DATA"), "status.txt")


def test_status_measures_the_disk(shop, indexer):
    shop.rebuild()
    _, output, _ = indexer("status")
    assert re.search(r"published +10 +0 +0 +\d+\.\d [kM]B ", output)
    assert re.search(r"Vectors of all models: \d+\.\d kB in ", output)


def test_rebuild_with_fewer_numbers_asks_no_model_and_is_searched_with_the_same_setting(shop, indexer, monkeypatch):
    full = shop.rebuild()
    shop.embedder.embedded_products = 0
    code, output, _ = indexer("rebuild", shop.write(), "--dim", 16)
    assert (code, shop.embedder.embedded_products) == (0, 0)
    assert "10 products, 0 newly embedded" in output
    manifest = shop.store.builds()[0]
    assert (manifest.dimensions, manifest.fingerprint) == (16, "colour-words-1@16")
    assert manifest.build != full.build

    monkeypatch.setenv("MOON_DIM", "16")
    assert indexer("rebuild", shop.catalog)[1].startswith("Nothing changed")
    assert indexer("prune", "--vectors")[1].endswith("Deleted vectors of models: none.\n")
    whole = shop.store.open(full.build)
    with LiveIndex(shop.store, "colour-words-1@16").index() as index:
        ids = shop.published_ids()
        np.testing.assert_allclose(index.vectors(ids), shortened(whole.vectors(ids), 16), atol=1e-6)
    with pytest.raises(ModelError, match=r"colour-words-1@16.*colour-words-1; set .*KEEP.*MOON_DIM.*indexer rebuild"):
        LiveIndex(shop.store, "colour-words-1")._acquire()


@pytest.mark.parametrize("known", [True, False])
def test_more_numbers_than_the_model_gives_are_refused(shop, indexer, monkeypatch, capsys, known):
    if known:
        shop.rebuild()
    assert run_main(monkeypatch, "rebuild", shop.write(), "--dim", 65) == 1
    assert "cannot be cut to 65 numbers: the model gives 64" in capsys.readouterr().err
    assert shop.embedder.embedded_products == (10 if known else 0)


def test_a_second_rebuild_meanwhile_is_told_to_wait_and_fails(shop, indexer, monkeypatch, capsys):
    with only_one_writer(shop.settings.data):
        assert run_main(monkeypatch, "rebuild", shop.write()) == 1
    assert capsys.readouterr().err == (
        f"Error: another indexer is writing to {shop.settings.data}; wait until it ends\n"
    )


def test_complete_fills_gaps_says_which_and_counts_rejects(shop, indexer, monkeypatch, tmp_path):
    monkeypatch.setattr(app.moon, "checkpoint_folder", lambda model: tmp_path)
    gaps = tmp_path / "gaps.csv"
    gaps.write_text("id,title\ng,green\n,red\n")
    shop.rebuild()
    code, output, _ = indexer("complete", gaps, tmp_path / "out", "--confidence", "0.1")
    assert code == 3
    assert "1 products, 1 of them completed." in output
    assert "    category: 1 filled in of 1 proposed" in output
    assert "1 x reject, id: give every product an id" in output


@pytest.mark.parametrize("command", ["", "rebuild", "validate", "complete", "status", "rollback", "publish", "prune"])
def test_help_is_as_documented(indexer, command):
    code, output, _ = indexer(*command.split(), "--help")
    assert code == 0
    assert_is_snapshot(output, f"help{'-' if command else ''}{command}.txt")


def test_rollback_publishes_the_build_before(shop, indexer):
    first = shop.rebuild()
    shop.rows[0]["price"] = 5.0
    shop.rebuild()
    assert indexer("rollback") == (0, f"Published build {first.build}.\n", "")
    assert shop.store.published() == first.build


def test_a_build_is_kept_on_trial_and_published_when_asked(shop, indexer):
    code, output, _ = indexer("rebuild", shop.write(), "--no-publish")
    (build,) = [manifest.build for manifest in shop.store.builds()]
    assert code == 0
    assert output.startswith(f"On trial: build {build}: 10 products, 10 newly embedded, recall 100.0%.\n")
    assert f"It is not searched until you publish it: indexer publish {build}\n" in output
    assert re.search(rf"{build} +on trial ", indexer("status")[1])
    code, output, _ = indexer("rebuild", shop.catalog, "--no-publish")
    assert output.startswith(f"Nothing changed: build {build} with 10 products stays on trial.\n")
    assert indexer("publish", build) == (0, f"Published build {build}.\n", "")
    assert re.search(rf"{build} +published ", indexer("status")[1])


def test_publishing_a_build_that_is_not_there_is_one_line_on_stderr(shop, indexer, monkeypatch, capsys):
    published = shop.rebuild().build
    assert run_main(monkeypatch, "publish", "20261121T060000-00000a") == 1
    assert capsys.readouterr().err.startswith("Error: there is no finished build 20261121T060000-00000a in ")
    assert shop.store.published() == published


def test_prune_deletes_the_build_on_trial_only_when_asked(shop, indexer):
    published = shop.rebuild().build
    trial = shop.rebuild(settings=shop.settings, model=shop.model("colour-words-2"), publish=False).build
    assert indexer("prune")[1] == "Deleted builds: none.\n"
    assert indexer("prune", "--trial", "--vectors")[1] == (
        f"Deleted builds: {trial}.\nDeleted vectors of models: colour-words-2.\n"
    )
    assert shop.store.published() == published


def test_prune_drops_old_builds_and_unused_vectors_only_when_asked(shop, indexer, monkeypatch):
    builds = []
    for price in range(3):
        shop.rows[0]["price"] = 100.0 + price
        builds.append(shop.rebuild().build)
    unused = shop.settings.data / "vectors" / "older-model"
    unused.mkdir()
    monkeypatch.setenv("MOON_KEEP_BUILDS", "2")
    assert indexer("prune")[1] == f"Deleted builds: {builds[0]}.\n"
    assert unused.exists()
    assert indexer("prune", "--vectors")[1] == "Deleted builds: none.\nDeleted vectors of models: older-model.\n"
    assert not unused.exists()
    assert not shop.rebuild().changed


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["indexer", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_an_expected_failure_is_one_line_on_stderr(shop, indexer, monkeypatch, capsys):
    assert run_main(monkeypatch, "rebuild", "gone.csv") == 1
    assert capsys.readouterr().err == "Error: gone.csv: there is no such catalog file; check the path\n"


def test_a_model_that_is_missing_is_one_line_on_stderr(shop, indexer, monkeypatch, capsys):
    def missing(path, settings):
        raise ModelError(f"{path}: no such folder")

    monkeypatch.setattr(app.moon, "model_fingerprint", missing)
    assert run_main(monkeypatch, "rebuild", shop.write()) == 1
    assert capsys.readouterr().err == "Error: shop/colour-words: no such folder\n"


@pytest.mark.parametrize("command", ["rebuild", "prune", "rollback"])
def test_a_data_folder_that_cannot_be_used_is_one_line_on_stderr(shop, indexer, monkeypatch, capsys, command):
    file = shop.folder / "file"
    file.write_text("")
    monkeypatch.setenv("MOON_DATA", str(file / "data"))
    assert run_main(monkeypatch, command, *([shop.write()] if command == "rebuild" else [])) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {file}/data")
    assert "MOON_DATA can be read" in error
    assert error.count("\n") == 1


def test_a_setting_that_makes_no_sense_is_named(monkeypatch, capsys):
    monkeypatch.setenv("MOON_KEEP_BUILDS", "none")
    assert run_main(monkeypatch, "status") == 1
    assert capsys.readouterr().err.startswith("Error: MOON_KEEP_BUILDS is 'none': ")


@pytest.mark.parametrize("arguments", [["--help"], ["status"]])
def test_quick_commands_do_not_import_torch(tmp_path, arguments):
    script = (
        f"import sys; sys.argv = ['indexer', *{arguments}]\n"
        "from indexer.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    environment = {"MOON_DATA": str(tmp_path), "PATH": "/usr/bin:/bin"}
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "[]", run.stderr
