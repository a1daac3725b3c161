"""Problems tell their kind by a type that stays the same."""

from __future__ import annotations

import re

import pytest

from app.problems import Kind, problem_of, problem_of_status
from app.settings import ROOT


def test_the_documentation_lists_every_type_with_its_status():
    rows = re.findall(r"^\| (\d+) \| `(urn:moon:[a-z-]+)` \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert rows == [(str(kind.status), kind.type) for kind in Kind]


def test_a_problem_says_what_its_kind_is():
    problem = problem_of(Kind.NO_INDEX, "none is published")
    assert problem.model_dump() == {
        "type": "urn:moon:no-index",
        "title": "There is no index to search",
        "status": 503,
        "detail": "none is published",
    }


@pytest.mark.parametrize(
    ("status", "named", "title"),
    [
        (404, "urn:moon:no-address", "There is nothing at this address"),
        (400, "urn:moon:bad-request", "It is not understood"),
        (405, "about:blank", "Method Not Allowed"),
    ],
)
def test_a_bare_status_has_the_type_of_what_the_framework_refuses_or_none(status, named, title):
    problem = problem_of_status(status, "no")
    assert (problem.type, problem.title, problem.status) == (named, title, status)
