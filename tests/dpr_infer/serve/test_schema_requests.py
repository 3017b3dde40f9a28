# Requests made up from the description of the API, and from it alone: each is answered as described, and what the
# description allows is refused only for what it can't tell.

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from dpr_infer.serve.openapi import openapi_document
from dpr_infer.serve.settings import Settings
from live_server import LiveServer, live_server

BUNDLES_OWN = ("urn:dpr:unknown-item", "urn:dpr:unknown-tag", "urn:dpr:where")
# Fixed, so that a run is like any other.
SETTINGS = settings(
    max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def server(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    users = tmp_path_factory.mktemp("described") / "users.sqlite"
    with live_server(bundle=str(bundle_path), users=str(users), admin_key="admin") as started:
        yield started


@pytest.fixture(scope="module")
def described(server: LiveServer) -> Any:
    return schemathesis.openapi.from_url(f"http://{server.address}/openapi.json")


OPERATIONS = [
    (method, path)
    for path, methods in openapi_document(Settings(bundle="any"), "")["paths"].items()
    for method in methods
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_as_described(described: Any, method: str, path: str):
    operation = described[path][method]

    @given(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    @SETTINGS
    def ask(case: Any) -> None:
        answer = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        if answer.status_code in (400, 422):
            assert is_beyond_the_description(answer.json()), answer.text

    ask()


def is_beyond_the_description(problem: dict[str, Any]) -> bool:
    """Tell whether a refusal is about what the bundle has, or about 1.0, which to JSON Schema is an integer."""
    return (
        problem.get("type") in BUNDLES_OWN
        or re.search(r"must be int; got \d+\.0$", problem["detail"]) is not None
    )
