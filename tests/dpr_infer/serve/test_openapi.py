# The description of the API: it has every route and no other, and tells the limits that hold.

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dpr_infer.serve.openapi import openapi_document
from dpr_infer.serve.routes import all_routes
from dpr_infer.serve.settings import Settings

Client = TestClient[Litestar]
MakeClient = Callable[..., Client]
# For people and their browsers; they describe themselves.
NOT_DESCRIBED = {("get", "/"), ("get", "/docs"), ("get", "/openapi.json"), ("get", "/static/{name}")}


@pytest.fixture(scope="module")
def document(client: Client) -> dict[str, Any]:
    answer = client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_it_describes_every_route_and_no_other(document: dict[str, Any]):
    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (method.lower(), path.replace(":str}", "}").replace(":path}", "}"))
        for route in all_routes(Settings(bundle="any"))
        for path in route.paths
        for method in route.http_methods - {"OPTIONS"}
    }
    assert described == served - NOT_DESCRIBED


def test_operations_have_names_of_their_own(document: dict[str, Any]):
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere(document: dict[str, Any]):
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known
    assert known <= references(document)


def test_every_parameter_of_a_path_is_described(document: dict[str, Any]):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            described = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert described == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_limits_of_the_settings_are_told(make_client: MakeClient):
    schemas = make_client(max_k=17, max_requests=3).get("/openapi.json").json()["components"]["schemas"]
    assert schemas["RecommendOne"]["properties"]["k"]["maximum"] == 17
    assert schemas["AskTurn"]["properties"]["k"]["maximum"] == 17
    assert schemas["RecommendMany"]["properties"]["requests"]["maxItems"] == 3


def test_keys_are_asked_for_where_they_are_needed(make_client: MakeClient, document: dict[str, Any]):
    locked = make_client(api_key=("key",)).get("/openapi.json").json()
    for path, methods in locked["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) == path.startswith(("/v1/", "/v2/models/"))
    assert "security" not in json.dumps(document["paths"])


def test_statuses_that_were_seen_are_described(document: dict[str, Any], client: Client):
    seen = [
        (client.post("/v1/recommend", json={}), "/v1/recommend", "post"),
        (client.post("/v1/recommend", json={"k": 0}), "/v1/recommend", "post"),
        (client.post("/v1/recommend", content=b""), "/v1/recommend", "post"),
        (client.post("/v1/sessions", json={}), "/v1/sessions", "post"),
        (client.delete("/v1/users/none"), "/v1/users/{user}", "delete"),
        (client.get("/v1/sessions/none"), "/v1/sessions/{session_id}", "get"),
        (client.post("/v1/admin/reload"), "/v1/admin/reload", "post"),
    ]
    for answer, path, method in seen:
        response = document["paths"][path][method]["responses"][str(answer.status_code)]
        media_types = response.get("content", {"": None})
        assert answer.headers.get("content-type", "") in media_types


def test_the_guide_has_every_route_and_kind_of_problem(root: Path):
    guide = (root / "docs" / "serve.md").read_text(encoding="utf-8")
    described = openapi_document(Settings(bundle="any"), "")["paths"]
    # The guide writes those of the inference protocol shorter.
    told = [path for path in described if not path.startswith("/v2/models/")]
    assert [path for path in told if path not in guide] == []
    folder = root / "python" / "dpr_infer" / "serve"
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))
    kinds = set(
        re.findall(r'"((?:unknown|bad|too-many)-[a-z-]+|no-users|key|admin-key|where|timeout)"[,)]', source)
    )
    assert kinds >= {"unknown-item", "timeout", "bad-bundle"}
    assert [kind for kind in sorted(kinds) if f"urn:dpr:{kind}" not in guide] == []
