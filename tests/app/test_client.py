"""The client against the API over a real socket, and against servers that misbehave."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import httpx
import pytest
from shop_samples import ODD_ID, picture

from app import MoonSearch
from app.api import create_api
from app.client import ATTEMPTS, LONGEST_WAIT, Client
from app.errors import (
    BadInputError,
    IndexUnavailableError,
    ModelError,
    NotFoundError,
    OverloadedError,
    ServiceError,
)
from app.schema import Filters, Range
from tests.served import served


@pytest.fixture(scope="module")
def remote(published):
    with served(create_api(published)) as url, Client(url) as client:
        yield client


def scripted(*answers: httpx.Response | Exception, asked: list[httpx.Request] | None = None) -> Client:
    """A client of a server that gives these answers."""
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        given = next(left)
        if isinstance(given, Exception):
            raise given
        return given

    return Client("http://shop.example/", api_key="secret", transport=httpx.MockTransport(answer))


@pytest.fixture
def waits(monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    return waited


def found(result) -> list[tuple[str, float]]:
    return [(hit.product.id, pytest.approx(hit.score, abs=1e-6)) for hit in result.hits]


def test_answers_are_those_of_the_shop_itself(remote, published, tmp_path):
    shop, path = MoonSearch(service=published), tmp_path / "photo.png"
    path.write_bytes(picture("green"))
    asked = {
        "filters": Filters(category=["Furniture"], ranges={"price": Range(max=400)}),
        "limit": 3,
        "offset": 1,
        "facets": False,
        "text_weight": 0.8,
        "sort": "-price",
    }
    assert found(remote.search("sofa", path, **asked)) == found(shop.search("sofa", path, **asked))
    assert found(remote.search("red chair", group=True)) == found(shop.search("red chair", group=True))
    assert found(remote.search(photo=picture("red"))) == found(shop.search(photo=picture("red")))
    assert remote.search("chair").facets == shop.search("chair").facets
    assert found(remote.similar(ODD_ID)) == found(shop.similar(ODD_ID))
    assert found(remote.recommend(["lamp"], [ODD_ID])) == found(shop.recommend(["lamp"], [ODD_ID]))
    assert remote.product(ODD_ID) == shop.product(ODD_ID)
    predicted = remote.predict("chairs", picture("red"), box=(0, 0, 20, 20), limit=1)
    assert predicted.attributes == shop.predict("chairs", picture("red"), box=(0, 0, 20, 20), limit=1).attributes
    assert remote.status().products == 8


def test_boxes_of_products_are_those_of_the_shop_itself(remote, published, monkeypatch):
    monkeypatch.setattr(
        published.embedder, "embed_queries", lambda queries: (None, [(8.0, 8.0, 30.0, 30.0)] * len(queries))
    )
    boxes = remote.detect(picture("red")).boxes
    assert len(boxes) > 1
    assert boxes == MoonSearch(service=published).detect(picture("red")).boxes


def test_problems_become_errors_that_say_what_to_do(remote, tmp_path):
    with pytest.raises(NotFoundError, match="'nothing'"):
        remote.product("nothing")
    for ask in (remote.search, lambda: remote.search("x", limit=0), lambda: remote.predict("", b"no picture")):
        with pytest.raises(BadInputError, match=r"empty|limit|not a picture"):
            ask()
    with pytest.raises(BadInputError, match=r"gone\.jpg"):
        remote.search(photo=tmp_path / "gone.jpg")


def test_a_busy_server_is_asked_again_when_it_says(waits):
    asked: list[httpx.Request] = []
    busy = [httpx.Response(429, headers={"Retry-After": "3"}), httpx.Response(503, headers={"Retry-After": "999"})]
    client = scripted(*busy, httpx.Response(200, json={"id": "lamp"}), asked=asked)
    assert client.product("lamp").id == "lamp"
    assert waits == [3, LONGEST_WAIT]
    assert {(str(request.url), request.headers["Authorization"]) for request in asked} == {
        ("http://shop.example/api/v1/products/lamp", "Bearer secret")
    }


def test_patience_with_a_busy_server_ends(waits):
    busy = httpx.Response(503, json={"detail": "64 queries are waiting"})
    with pytest.raises(OverloadedError, match="64 queries"):
        scripted(*[busy] * ATTEMPTS).product("lamp")
    assert waits == [1.0] * (ATTEMPTS - 1)


@pytest.mark.parametrize(("kind", "error"), [("no-index", IndexUnavailableError), ("other-model", ModelError)])
def test_a_server_without_a_usable_index_is_asked_again_and_told_apart(waits, kind, error):
    problem = httpx.Response(503, json={"type": f"urn:moon:{kind}", "detail": "run `indexer rebuild`"})
    assert scripted(problem, httpx.Response(200, json={"id": "lamp"})).product("lamp").id == "lamp"
    with pytest.raises(error, match="indexer rebuild"):
        scripted(*[problem] * ATTEMPTS).product("lamp")
    assert waits == [1.0] * ATTEMPTS


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(401, json={"detail": "give a key"}), "give a key"),
        (httpx.Response(502, json=["down"]), "shop.example answered 502 Bad Gateway"),
        (httpx.Response(502, text="<html>"), "shop.example answered 502 Bad Gateway"),
        (httpx.Response(200, text="<html>"), "is not understood"),
        (httpx.ConnectError("refused"), r"does not answer \(refused\)"),
        (httpx.ReadTimeout("slow"), r"does not answer \(slow\)"),
    ],
)
def test_a_server_that_cannot_help_is_named(answer, reason):
    with pytest.raises(ServiceError, match=reason):
        scripted(answer).status()


def test_importing_the_client_loads_no_model_and_no_server():
    loaded = "{'torch', 'transformers', 'fastapi', 'qdrant_client', 'gradio'} & set(sys.modules)"
    program = f"import sys, app.client; assert not {loaded}, {loaded}"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tempfile.gettempdir())
