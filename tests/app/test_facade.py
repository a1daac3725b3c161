from __future__ import annotations

import doctest
import subprocess
import sys

import pytest
from shop_samples import ODD_ID, picture

import app.facade
from app import MoonSearch
from app.errors import BadInputError, NotFoundError
from app.schema import Filters


@pytest.fixture
def shop(published):
    return MoonSearch(service=published)


def first(result) -> str:
    return result.hits[0].product.id


def test_photos_are_paths_or_bytes(shop, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(picture("green"))
    for photo in (path, str(path), path.read_bytes()):
        found = shop.search("sofa", photo=photo)
        assert first(found) == "green-sofa"
        assert list(found.timings) == ["decode", "embed", "search", "facets", "total"]


def test_a_missing_photo_is_named(shop):
    with pytest.raises(BadInputError, match=r"nowhere\.jpg"):
        shop.search(photo="nowhere.jpg")


def test_a_photo_is_never_fetched_from_the_web(shop):
    with pytest.raises(BadInputError, match="cannot be read"):
        shop.search(photo="http://127.0.0.1:9/photo.jpg")


def test_similar_products_and_predictions(shop):
    assert first(shop.similar("red-chair", limit=1)) == "red-sofa"
    assert shop.product(ODD_ID).category == ["Lighting"]
    assert shop.predict("chairs in green", picture("green")).attributes["color"][0].label == "green"
    with pytest.raises(NotFoundError):
        shop.product("nothing")


def test_the_example_in_the_docstring_runs(shop, tmp_path, monkeypatch):
    (tmp_path / "photo.jpg").write_bytes(picture("blue", "JPEG"))
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestFinder().find(
        MoonSearch, "MoonSearch", app.facade, globs={"MoonSearch": lambda: shop, "Filters": Filters}
    )
    runner = doctest.DocTestRunner()
    for example in examples:
        runner.run(example)
    assert runner.summarize(verbose=False).attempted >= 5
    assert runner.failures == 0


def test_importing_the_facade_loads_no_model_library():
    program = "import sys, app; app.MoonSearch; assert not {'torch', 'transformers', 'fastapi'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_package_has_nothing_else_to_offer():
    with pytest.raises(AttributeError, match="Moonlight"):
        app.Moonlight  # noqa: B018
