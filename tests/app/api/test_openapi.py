from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def schema(client):
    return client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def operations(schema):
    return {operation["operationId"]: operation for path in schema["paths"].values() for operation in path.values()}


def test_operation_ids_are_words(operations):
    assert set(operations) == {
        "search",
        "search_text",
        "similar",
        "recommend",
        "product",
        "product_image",
        "predict",
        "predict_batch",
        "detect",
        "live",
        "ready",
        "status",
    }


def test_everything_lies_below_one_version(schema):
    assert {path for path in schema["paths"] if not path.startswith("/api/v1/")} == set()


def test_every_error_is_a_problem_with_an_example(operations):
    for name, operation in operations.items():
        errors = {status: r for status, r in operation["responses"].items() if int(status) >= 400}
        assert {"422", "500"} <= set(errors), name
        for status, response in errors.items():
            if (name, status) == ("ready", "503"):
                continue
            content = response["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert content["example"]["status"] == int(status)
            assert list(response["content"]) == ["application/problem+json"]


def test_every_json_answer_and_body_has_an_example(operations):
    for name, operation in operations.items():
        contents = [
            operation["responses"]["200"].get("content", {}),
            operation.get("requestBody", {}).get("content", {}),
        ]
        for content in contents:
            if "application/json" in content:
                assert {"example", "examples"} & set(content["application/json"]), name


def test_examples_of_bodies_are_understood(client, schema):
    for path, methods in schema["paths"].items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if body:
            example = body.get("example") or next(iter(body["examples"].values()))["value"]
            assert client.post(path, json=example).status_code in (200, 400, 404), path  # of another shop


def test_every_reference_leads_to_a_schema(schema):
    references = {part.split('"')[0] for part in json.dumps(schema).split("#/components/schemas/")[1:]}
    assert references <= set(schema["components"]["schemas"])
