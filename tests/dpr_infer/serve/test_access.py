# Who may call what: API keys, the admin key, pages of other origins.

from __future__ import annotations

from collections.abc import Callable

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dpr_infer.serve.access import Keys
from dpr_infer.serve.problems import Problem

Client = TestClient[Litestar]
MakeClient = Callable[..., Client]
OPEN = [
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/",
    "/static/app.js",
]
GUARDED = ["/v1/model", "/v1/items?q=film", "/v1/examples", "/v1/users/u", "/v1/sessions/s", "/v1/nothing"]


@pytest.fixture
def locked(make_client: MakeClient) -> Client:
    return make_client(api_key=("first", "second"), admin_key="admin")


def test_without_keys_everybody_is_let_in(client: Client):
    assert client.get("/v1/model").status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_these_need_no_key(locked: Client, path: str):
    assert locked.get(path).status_code == 200


@pytest.mark.parametrize("path", GUARDED)
def test_these_need_a_key(locked: Client, path: str):
    answer = locked.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:dpr:key"
    assert "got none" in answer.json()["detail"]
    assert locked.get(path, headers={"X-API-Key": "first"}).status_code != 401


@pytest.mark.parametrize(
    "path", ["//v1/model", "///v1//model", "/%2Fv1/model", "/v2//models/tiny", "//v1/users/u%2Fv"]
)
def test_slashes_that_routing_passes_over_are_no_way_in(locked: Client, path: str):
    address = f"{locked.base_url}{path}"  # a path that begins with // would be read as an address
    assert locked.get(address).status_code == 401
    assert locked.get(address, headers={"X-API-Key": "first"}).status_code != 401


def test_models_of_the_inference_protocol_need_a_key(locked: Client):
    for path in ("/v2/models/tiny", "/v2/models/tiny/ready", "/v2/models/tiny/versions/1"):
        assert locked.get(path).status_code == 401
    assert locked.post("/v2/models/tiny/infer").status_code == 401
    assert locked.get("/v2/models/tiny", headers={"X-API-Key": "first"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer second"}, {"authorization": "bearer  first "}, {"X-API-Key": "second"}],
)
def test_a_key_lets_in(locked: Client, headers: dict[str, str]):
    assert locked.get("/v1/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer third"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic first"},
        {"Authorization": "first"},
        {"X-API-Key": ""},
        {"X-API-Key": "first,second"},
        {"X-API-Key": "fir"},
        {"X-API-Key": "firstt"},
        {"X-Admin-Key": "admin"},
    ],
)
def test_no_other_key_lets_in(locked: Client, headers: dict[str, str]):
    assert locked.get("/v1/model", headers=headers).status_code == 401


def test_bytes_that_are_no_text_let_nobody_in():
    keys = Keys(["key"], None)
    with pytest.raises(Problem, match="another one"):
        keys.admit("/v1/model", [(b"x-api-key", b"\xff\xfe")])


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    import hmac

    compared = []
    true_compare = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or true_compare(a, b)
    )
    Keys(["right", "other", "longer than others"], None).admit("/v1/model", [(b"x-api-key", b"right")])
    assert compared == [(32, 32)] * 3  # all of them, after the match too, and of one length


def test_without_an_admin_key_there_is_no_admin_route(make_client: MakeClient):
    open_server = make_client()
    assert open_server.post("/v1/admin/reload").status_code == 404
    assert open_server.post("/v1/admin/reload", headers={"X-Admin-Key": ""}).status_code == 404


def test_the_admin_route_takes_the_admin_key_alone(locked: Client):
    assert locked.post("/v1/admin/reload", headers={"X-Admin-Key": "admin"}).status_code == 200
    for headers in (
        {},
        {"X-API-Key": "first"},
        {"X-API-Key": "first", "X-Admin-Key": "first"},
        {"X-Admin-Key": "x"},
    ):
        assert locked.post("/v1/admin/reload", headers=headers).status_code == 401


def test_pages_of_other_origins_are_not_let_in_by_default(client: Client):
    answer = client.get("/v1/model", headers={"Origin": "https://shop.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    answer = client.options(
        "/v1/recommend", headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    )
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_origins_that_are_allowed(make_client: MakeClient):
    server = make_client(cors_origin=("https://shop.example/", "http://localhost:3000"), api_key=("key",))
    shop = {"Origin": "https://shop.example"}
    preflight = server.options("/v1/recommend", headers={**shop, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    for answer in (
        preflight,
        server.get("/v1/model", headers={**shop, "X-API-Key": "key"}),
        server.get("/v1/model", headers=shop),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
    other = server.get("/v1/model", headers={"Origin": "https://shop.example.evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert other.headers["vary"] == "Origin"


def test_all_origins(make_client: MakeClient):
    answer = make_client(cors_origin=("*",)).get("/v1/model", headers={"Origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
