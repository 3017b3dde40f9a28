# What is no proper request: never a 500, always a problem, whatever the bytes.

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
JSON = {"Content-Type": "application/json"}
POSTS = ["/v1/recommend", "/v1/sessions", "/v1/users/u/events"]
FIELDS = [
    "history",
    "user",
    "prompt",
    "k",
    "exclude",
    "where",
    "strength",
    "steer",
    "explain",
    "requests",
    "events",
]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["i100", "comedy", "ask", "soft"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["status"] == status
    return str(answer.json()["detail"])


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is empty"),
        (b"{", "truncated"),
        (b"{} {}", "trailing characters"),
        (b'{"k": NaN}', "invalid character"),
        (b'{"prompt": "\xff"}', "UTF-8"),
        (b'{"prompt": "\\ud800"}', "truncated"),
        (b"\xef\xbb\xbf{}", "invalid character"),
    ],
)
def test_malformed_json_is_400(client: Client, path: str, body: bytes, reason: str):
    answer = client.post(path, content=body, headers=JSON)
    if answer.status_code == 422:  # a field that this path does not have comes first
        return
    detail = problem(answer, 400)
    assert detail.startswith("the body must be JSON")
    assert reason in detail


@pytest.mark.parametrize(
    "opening", [b"[", b'{"prompt":', b'{"requests":[', b'{"where":{"a":', b'{"events":[{"item":[']
)
@pytest.mark.parametrize("path", POSTS)
def test_deep_json_is_refused(client: Client, path: str, opening: bytes):
    answer = client.post(path, content=opening * 30_000, headers=JSON)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
def test_other_media_types_are_415(client: Client, content_type: str):
    headers = {"Content-Type": content_type} if content_type else {}
    assert "Content-Type must be application/json" in problem(
        client.post("/v1/recommend", content=b"{}", headers=headers), 415
    )


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/json;"],
)
def test_json_may_be_declared_in_other_ways(client: Client, content_type: str):
    answer = client.post("/v1/recommend", content=b"{}", headers={"Content-Type": content_type})
    assert answer.status_code == 200


def test_a_large_body_is_413(client: Client):
    body = json.dumps({"prompt": "x" * 2**20}).encode()
    assert "at most 1048576 bytes" in problem(client.post("/v1/recommend", content=body, headers=JSON), 413)


def test_the_largest_body_is_read(client: Client):
    body = b'{"k":1}'
    answer = client.post("/v1/recommend", content=body + b" " * (2**20 - len(body)), headers=JSON)
    assert answer.status_code == 200


def test_unknown_paths_and_methods(client: Client):
    assert "no such path" in problem(client.get("/v1/nothing"), 404)
    answer = client.get("/v1/recommend")
    assert "this path takes POST" in problem(answer, 405)
    assert "POST" in answer.headers["allow"]
    too_long = client.get("/v1/items/" + "x" * 5000)
    assert "characters" in problem(too_long, 414)
    assert too_long.json()["title"] == "Path too long"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/recommend", {"POST", "OPTIONS"}),
        ("/v1/sessions/any/turns", {"POST", "PUT", "OPTIONS"}),
        ("/v1/users/any", {"GET", "DELETE", "OPTIONS"}),
    ],
)
def test_a_path_tells_the_methods_that_it_takes(client: Client, path: str, methods: set[str]):
    told = client.options(path)
    assert told.status_code == 204
    assert set(told.headers["allow"].split(", ")) == methods
    refused = client.patch(path)
    problem(refused, 405)
    assert set(refused.headers["allow"].split(", ")) == methods


def test_head_is_answered_like_get_without_the_body(client: Client):
    whole, head = client.get("/v1/examples"), client.head("/v1/examples")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == whole.headers["content-length"]


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(POSTS), body=values)
def test_any_json_has_a_proper_answer(client: Client, path: str, body: Any):
    answer = client.post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code in (200, 201, 400, 404, 422), answer.text


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(POSTS), body=st.binary(max_size=60))
def test_any_bytes_have_a_proper_answer(client: Client, path: str, body: bytes):
    answer = client.post(path, content=body, headers=JSON)
    assert answer.status_code in (200, 201, 400, 422), answer.text


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200))
def test_any_prompt_has_a_proper_answer(client: Client, text: str):
    answer = client.post("/v1/recommend", content=json.dumps({"prompt": text}), headers=JSON)
    assert answer.status_code in (200, 400, 422), answer.text
    # Control characters and lone surrogates are the only texts that cannot be read.
    readable = all(
        c in "\t\n\r" or not ("\x00" <= c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c <= "\udfff")
        for c in text
    )
    assert (answer.status_code == 200) == readable


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=60).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)))
@pytest.mark.parametrize("path", ["/v1/items?q={}", "/v1/items/{}", "/v1/sessions/{}", "/v1/users/{}"])
def test_any_path_has_a_proper_answer(client: Client, path: str, text: str):
    from urllib.parse import quote

    answer = client.get(path.format(quote(text, safe="")))
    assert answer.status_code in (200, 404, 422), answer.text
