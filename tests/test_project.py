"""What holds for the project as a whole: its demo data, its layout and its deployment files."""

from __future__ import annotations

import ast
import random
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest
import yaml
from PIL import Image

from app.calibration import read_calibration
from app.moon.fingerprint import model_fingerprint
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
STARTER = ROOT / "models" / "moon-starter"
ROOMS = ("app", "indexer", "trainer", "ui")
MAX_MODULE_LINES = 300
MAX_DEMO_BYTES = 40_000_000
MAX_STARTER_BYTES = 60_000_000


@pytest.fixture(scope="module")
def catalog() -> pl.DataFrame:
    return pl.read_parquet(DEMO / "catalog.parquet")


@pytest.fixture(scope="module")
def photos() -> pl.DataFrame:
    return pl.read_parquet(DEMO / "photos.parquet")


def modules() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))


def imported_names(module: Path) -> set[str]:
    """Absolute names of everything a module imports."""
    package = module.relative_to(ROOT).with_suffix("").parts[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            outer = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*outer, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def bytes_under(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# The demo catalog


def test_demo_data_is_small_enough_for_the_repository() -> None:
    assert bytes_under(DEMO) <= MAX_DEMO_BYTES


def test_catalog_ids_are_unique_and_each_product_has_a_title_and_a_picture(catalog: pl.DataFrame) -> None:
    assert catalog["id"].is_unique().all()
    assert (catalog["title"].str.strip_chars() != "").all()
    assert (catalog["images"].list.len() > 0).all()


def test_every_referenced_picture_exists(catalog: pl.DataFrame, photos: pl.DataFrame) -> None:
    referenced = [*catalog["images"].explode(), *photos["path"]]
    assert [path for path in referenced if not (DEMO / path).is_file()] == []


def test_every_picture_is_referenced(catalog: pl.DataFrame, photos: pl.DataFrame) -> None:
    referenced = {*catalog["images"].explode(), *photos["path"]}
    shipped = {str(file.relative_to(DEMO)) for folder in ("images", "photos") for file in (DEMO / folder).iterdir()}
    assert shipped - referenced == set()


def test_a_sample_of_pictures_decodes_and_boxes_lie_inside(catalog: pl.DataFrame, photos: pl.DataFrame) -> None:
    rng = random.Random(0)
    for path in rng.sample(catalog["images"].explode().to_list(), 40):
        with Image.open(DEMO / path) as image:
            image.load()
            assert image.format == "WEBP", path
            assert max(image.size) <= 320, path
    for row in rng.sample(photos.to_dicts(), 80):
        with Image.open(DEMO / row["path"]) as image:
            image.load()
            x0, y0, x1, y1 = row["box"]
            assert 0 <= x0 < x1 <= image.width, row["path"]
            assert 0 <= y0 < y1 <= image.height, row["path"]


def test_catalog_has_no_invented_prices(catalog: pl.DataFrame) -> None:
    attributes = [field.name for field in catalog.schema["attributes"].fields]
    assert [name for name in [*catalog.columns, *attributes] if re.search("price|currency|discount", name)] == []


def test_a_design_is_either_for_training_or_for_testing(catalog: pl.DataFrame, photos: pl.DataFrame) -> None:
    assert set(catalog["split"]) == {"train", "test"}
    assert catalog.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1
    split_of = catalog.select(product_id="id", group_of_product="group_id", split_of_product="split")
    joined = photos.join(split_of, on="product_id", how="left")
    assert (joined["split"] == joined["split_of_product"]).all()
    assert (joined["group_id"] == joined["group_of_product"]).all()


def test_hard_negatives_stay_inside_their_split(catalog: pl.DataFrame) -> None:
    split_of = dict(zip(catalog["id"], catalog["split"], strict=True))
    crossing = [
        (product, other)
        for product, others in zip(catalog["id"], catalog["hard_negatives"], strict=True)
        for other in others
        if split_of[other] != split_of[product]
    ]
    assert crossing == []


def test_photos_that_show_a_test_model_are_marked(catalog: pl.DataFrame, photos: pl.DataFrame) -> None:
    test_groups = set(catalog.filter(split="test")["group_id"])
    unmarked = [
        row["path"]
        for row in photos.filter(split="train", shows_test_model=False).to_dicts()
        if test_groups & {row["group_id"], *row["distractors"]}
    ]
    assert unmarked == []


@pytest.mark.parametrize("table", ["queries.parquet", "mixed_queries.parquet"])
def test_queries_name_products_of_the_catalog(table: str, catalog: pl.DataFrame) -> None:
    queries = pl.read_parquet(DEMO / table)
    assert (queries["relevant_product_ids"].list.len() > 0).all()
    assert set(queries["relevant_product_ids"].explode()) <= set(catalog["id"])


def test_every_product_names_its_licence_and_is_credited(catalog: pl.DataFrame) -> None:
    assert set(catalog["licence"]) == {"CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-US"}
    assert catalog["licence_url"].str.starts_with("https://creativecommons.org/").all()
    assert (catalog["creator"].str.strip_chars() != "").all()
    credits = set((DEMO / "ATTRIBUTION.txt").read_text().splitlines())
    assert set(catalog["attribution"]) <= credits


# The rooms and their arrows


def test_modules_stay_short() -> None:
    lengths = {str(module.relative_to(ROOT)): len(module.read_text().splitlines()) for module in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}


def test_app_imports_no_other_room_and_the_others_import_only_app() -> None:
    crossing = []
    for module in modules():
        room = module.relative_to(ROOT).parts[0]
        allowed = {room, "app"}
        imported = {name.split(".")[0] for name in imported_names(module)}
        crossing += [f"{module.relative_to(ROOT)} imports {other}" for other in imported & set(ROOMS) - allowed]
    assert crossing == []


def test_nothing_is_loaded_that_can_run_code() -> None:
    unsafe = "|".join(
        [
            r"\bimport pickle\b",
            r"\bpickle\.load",
            r"\btorch\.load\((?!.*weights_only=True)",
            r"\b(trust_remote_code|allow_pickle)\s*=\s*True",
        ]
    )
    found = [
        f"{module.relative_to(ROOT)}: {match.group()}"
        for module in modules()
        for match in re.finditer(unsafe, module.read_text())
    ]
    assert found == []


def test_starter_model_is_small_and_holds_safetensors_only() -> None:
    weights = {file.suffix for file in STARTER.rglob("*") if file.is_file() and file.stat().st_size > 5_000_000}
    assert weights == {".safetensors"}
    assert not [*STARTER.rglob("*.bin"), *STARTER.rglob("*.pt"), *STARTER.rglob("*.pkl")]
    assert bytes_under(STARTER) <= MAX_STARTER_BYTES


def test_starter_calibration_is_of_its_vectors() -> None:
    settings = Settings(_env_file=None, model=str(STARTER))
    assert read_calibration(STARTER, model_fingerprint(settings.model, settings)).search.keys() == {
        "photo",
        "text",
        "both",
    }


# Packaging and deployment


def test_licence_is_apache_2_0_in_full() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"


def test_changelog_starts_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## .*", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "## [Unreleased]"


def test_make_says_which_python_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = subprocess.run(
        ["make", "demo", f"PYTHON={old}", f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert f"needs Python 3.11 or newer, and '{old}' is not" in result.stdout


def compose_command() -> list[str] | None:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = ["docker", "compose"]
    if (
        shutil.which("docker")
        and subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0
    ):
        return plugin
    return None


@pytest.mark.skipif(compose_command() is None, reason="neither docker-compose nor docker compose is installed")
def test_compose_runs_the_app_on_one_qdrant_node_or_on_three() -> None:
    command = [*(compose_command() or []), "--file", str(ROOT / "docker-compose.yml")]
    subprocess.run([*command, "config", "--quiet"], capture_output=True, check=True)
    cluster = subprocess.run([*command, "--profile", "cluster", "config"], capture_output=True, text=True, check=True)
    services = yaml.safe_load(cluster.stdout)["services"]
    assert {name for name, service in services.items() if not service.get("profiles")} == {"qdrant", "index", "app"}
    assert {name for name, service in services.items() if service.get("profiles")} == {"qdrant-2", "qdrant-3"}
    for name in ("qdrant-2", "qdrant-3"):
        assert services[name]["command"][1:] == ["--bootstrap", "http://qdrant:6335", "--uri", f"http://{name}:6335"]


def test_qdrant_server_in_compose_is_within_one_minor_release_of_the_client() -> None:
    server = re.search(r"image: qdrant/qdrant:v(\d+)\.(\d+)\.\d+", (ROOT / "docker-compose.yml").read_text())
    assert server
    client = version("qdrant-client").split(".")
    assert server.group(1) == client[0]
    assert abs(int(server.group(2)) - int(client[1])) <= 1
