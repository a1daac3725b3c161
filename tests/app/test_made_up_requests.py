"""The HTTP API under requests that a machine made up from its own description: it answers as it says.

Some fit the description, some break it in one place, some lie at the bounds of a field, some name what the shop has.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from shop_samples import picture

from app.api import create_api
from app.problems import MEDIA_TYPE, Kind

API = "/api/v1"
EXAMPLES = 40
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
OFTEN = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
TYPES = {"about:blank", *(kind.type for kind in Kind)}

PHOTO = base64.b64encode(picture("red")).decode()
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "category": st.sampled_from([[], ["Furniture"], ["Furniture", "Chairs"], ["Nothing"]]),
        "attributes": st.dictionaries(st.just("color"), st.lists(st.sampled_from(["red", "blue", "none"]), max_size=3)),
        "ranges": st.dictionaries(
            st.just("price"),
            st.dictionaries(
                st.sampled_from(["min", "max"]), st.none() | st.floats(allow_nan=False, allow_infinity=False)
            ),
        ),
    },
)
PHOTOS = {
    "image": st.none() | st.just(PHOTO),
    "box": st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
}
TEXTS = st.sampled_from(["chair", "blue sofa"]) | st.text(max_size=20)
IDS = st.lists(st.sampled_from(["red-chair", "blue-sofa", "lamp", "none"]), min_size=1, max_size=3)
LIMITS = st.integers(1, 200)
APT = {
    "search": st.fixed_dictionaries(
        {"text": TEXTS},
        optional={
            **PHOTOS,
            "filters": FILTERS,
            "sort": st.sampled_from(["match", "price", "-price"]),
            "group": st.booleans(),
            "facets": st.booleans(),
            "limit": LIMITS,
            "offset": st.integers(0, 10_000),
            "weights": st.dictionaries(st.sampled_from(["photo", "text"]), st.floats(0.001, 1000)),
        },
    ),
    "recommend": st.fixed_dictionaries({"liked": IDS}, optional={"disliked": IDS, "filters": FILTERS, "limit": LIMITS}),
    "predict": st.fixed_dictionaries({"title": TEXTS}, optional={**PHOTOS, "limit": LIMITS}),
    "predict/batch": st.fixed_dictionaries(
        {"products": st.lists(st.fixed_dictionaries({"title": TEXTS}, optional=PHOTOS), min_size=1, max_size=3)}
    ),
}
"""Bodies of what the shop of the tests has."""

VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60).map(lambda text: text.strip())
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "Accept", "Authorization", "X-API-Key", "Range", "If-Range", "X-Forwarded-For", "Origin"]
    ),
    VALUES
    | st.sampled_from(["multipart/form-data; boundary=", "application/json; charset=x", "bytes=9-1", "multipart/*"]),
    max_size=3,
)


@pytest.fixture(scope="module")
def described(published):
    return schemathesis.openapi.from_asgi("/openapi.json", create_api(published))


def operations(described) -> Iterator[schemathesis.APIOperation]:
    return (found.ok() for found in described.get_all_operations())


def status_of(case) -> int:
    """The status that the case is answered with, after a look at the whole answer."""
    answer = case.call()
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code >= 400:
        check_problem(answer.status_code, answer.headers["content-type"][0], answer.json())
    return answer.status_code


def check_problem(status: int, content_type: str, problem: dict[str, object]) -> None:
    assert content_type == MEDIA_TYPE
    assert list(problem) == ["type", "title", "status", "detail"]
    assert problem["status"] == status
    assert problem["type"] in TYPES
    assert len(str(problem["detail"])) < 5000


@pytest.mark.parametrize("mode", GenerationMode)
def test_random_requests_are_answered_as_described(described, mode):
    tried = Counter()
    for operation in operations(described):
        if mode.is_negative and not (operation.body or operation.query or operation.path_parameters):
            continue  # nothing of such a request can be wrong

        @OFTEN
        @given(operation.as_strategy(generation_mode=mode))
        def made_up(case):
            tried[case.operation.path, status_of(case)] += 1

        made_up()
    assert f"{API}/search" in {path for path, _ in tried}
    assert (422 in {status for _, status in tried}) == mode.is_negative


def test_requests_at_and_beyond_the_bounds_of_each_field_are_answered_as_described(described):
    tried = Counter()
    for operation in operations(described):
        config = described.config.generation_for(operation=operation, phase="coverage")
        modes = list(GenerationMode)
        for case in described.iter_coverage_cases(operation, generation_modes=modes, generation_config=config):
            tried[case.meta.generation.mode, status_of(case)] += 1
    assert tried[GenerationMode.POSITIVE, 422] == 0
    assert tried[GenerationMode.NEGATIVE, 422] > 100


@pytest.mark.parametrize("name", APT)
def test_requests_for_what_the_shop_has_are_answered_as_described(described, name):
    operation = described[f"{API}/{name}"]["POST"]
    statuses = set()

    @OFTEN
    @given(APT[name])
    def made_up(body):
        statuses.add(status_of(operation.Case(body=body, media_type="application/json")))

    made_up()
    assert 200 in statuses
    assert statuses <= {200, 400, 404}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "search"), ("GET", "search?text=chair"), ("GET", "products/red-chair/images/0")]
)
def test_any_headers_are_answered_with_a_result_or_a_problem(published, method, path):
    client = TestClient(create_api(published))
    statuses = set()

    @OFTEN
    @given(HEADERS, st.sampled_from([b'{"text": "chair"}', b"", b"--\r\n"]))
    def made_up(headers, body):
        named = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = client.request(method, f"{API}/{path}", headers=named, content=body if method == "POST" else None)
        statuses.add(answer.status_code)
        if answer.status_code != 200:
            check_problem(answer.status_code, answer.headers["content-type"], answer.json())

    made_up()
    assert statuses <= ({200} if method == "GET" else {200, 400, 415, 422})
