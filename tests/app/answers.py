"""How tests ask the HTTP API and read its answers."""

from __future__ import annotations

import json

from fastapi.testclient import TestClient


def upload(client: TestClient, data: bytes, path: str = "/api/v1/search", **query: object):
    return client.post(path, files={"image": ("photo", data)}, data={"query": json.dumps(query)})


def ids(response) -> list[str]:
    assert response.status_code == 200, response.text
    return [hit["product"]["id"] for hit in response.json()["hits"]]


def message(response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    return problem["detail"]
