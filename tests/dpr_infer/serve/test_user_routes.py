# Users' histories over HTTP: idempotent, all or none, and used by recommendations.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dpr_infer import Recommender
from dpr_infer.serve.user_paths import keep_slashes, user_in
from dpr_infer.serve.users import EventStoreError

Client = TestClient[Litestar]
MakeClient = Callable[..., Client]


def event(number: int, item: str, **more: Any) -> dict[str, Any]:
    return {"event_id": str(number), "item": item, "timestamp": float(number), **more}


def send(client: Client, user: str, *events: dict[str, Any]) -> Any:
    return client.post(f"/v1/users/{user}/events", json={"events": list(events)})


def test_events_are_kept_once(client: Client):
    first = send(client, "ann", event(1, "i100"), event(2, "i107"))
    assert first.status_code == 200
    assert (first.json()["stored"], first.json()["duplicates"]) == (2, 0)
    second = send(client, "ann", event(2, "i107"), event(3, "i114"))
    assert (second.json()["stored"], second.json()["duplicates"]) == (1, 1)
    state = client.get("/v1/users/ann").json()
    assert (state["user"], state["history"], state["events"]) == ("ann", ["i100", "i107", "i114"], 3)


def test_recommendations_for_a_user_are_those_for_the_history(client: Client, recommender: Recommender):
    send(client, "bob", event(2, "i107"), event(1, "i100"))
    answer = client.post("/v1/recommend", json={"user": "bob", "prompt": "comedy"}).json()
    assert [item["id"] for item in answer["items"]] == recommender.query(["i100", "i107"], "comedy").items
    many = client.post("/v1/recommend", json={"requests": [{"user": "bob"}, {"user": "nobody"}, {}]}).json()
    lists = [[item["id"] for item in one["items"]] for one in many["answers"]]
    assert lists[0] == recommender.query(["i100", "i107"]).items
    assert lists[1] == lists[2]  # a user of whom nothing is known is a new one


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("shop%2Fann", "shop/ann"),
        ("shop%2fann", "shop/ann"),
        ("%2F", "/"),
        ("a%2F%2Fb%2F", "a//b/"),
        ("a%2Fevents", "a/events"),
        ("%C3%A9%2F%20", "\u00e9/ "),
    ],
)
def test_a_user_may_have_slashes(client: Client, path: str, user: str):
    assert send(client, path, event(1, "i100")).json()["stored"] == 1
    state = client.get(f"/v1/users/{path}").json()
    assert (state["user"], state["history"]) == (user, ["i100"])
    named = client.post("/v1/sessions", json={"user": user}).json()
    assert named["history"] == ["i100"]
    assert client.delete(f"/v1/users/{path}").status_code == 204
    assert client.get(f"/v1/users/{path}").json()["events"] == 0


def test_a_percent_sign_in_a_user_is_no_slash():
    scope = {
        "path": "/v1/users/a%2Fb",
        "raw_path": b"/v1/users/a%252Fb",
        "path_params": {"user": "a%2Fb"},
    }  # the test client would decode it twice
    keep_slashes(scope)
    assert scope["path"] == "/v1/users/a%2Fb"
    assert user_in(scope) == "a%2Fb"


@pytest.mark.parametrize("path", ["//v1/users/eve", "/v1//users//eve/", "//v1/users/%65ve"])
def test_slashes_that_routing_passes_over_change_no_user(client: Client, path: str):
    assert client.get(f"{client.base_url}{path}").json()["user"] == "eve"


def test_a_slash_as_it_is_parts_a_path(client: Client):
    assert client.get("/v1/users/shop/ann").status_code == 404
    assert client.get("/v1/%2F/users/ann").status_code == 404
    assert send(client, "shop/ann", event(1, "i100")).status_code == 404


def test_a_user_is_forgotten(client: Client):
    send(client, "eve", event(1, "i100"))
    assert client.delete("/v1/users/eve").status_code == 204
    assert client.delete("/v1/users/eve").status_code == 204
    state = client.get("/v1/users/eve").json()
    assert (state["history"], state["events"]) == ([], 0)
    assert send(client, "eve", event(1, "i100")).json()["stored"] == 1


def test_without_a_timestamp_the_time_of_arrival_counts(client: Client):
    send(client, "joe", {"event_id": "now", "item": "i100"}, event(1, "i107"))
    assert client.get("/v1/users/joe").json()["history"] == ["i107", "i100"]


@pytest.mark.parametrize(
    ("events", "detail"),
    [
        ([event(1, "i100"), event(2, "none")], "unknown: 'none'"),
        ([], "events must be array of length >= 1"),
        ([event(1, "i100", timestamp=1e300)], "events[0].timestamp must be float <="),
        (
            [event(1, "i100", timestamp="yesterday")],
            "events[0].timestamp must be float | null; got 'yesterday'",
        ),
        ([{"item": "i100"}], "events[0] must have the field 'event_id'; it is missing"),
        ([event(1, "i100", event_id="")], "events[0].event_id must be str of length >= 1"),
        ([event(1, "i100", event_id="a\x00b")], "event_id must be Unicode without NUL"),
        ([event(1, "i100", kind="click")], "events[0] has a field 'kind' that is none"),
        (
            [event(n, "i100") for n in range(1001)],
            "events must be array of length <= 1000; got a list of 1001",
        ),
    ],
)
def test_wrong_events_are_refused_and_none_is_kept(client: Client, events: list[dict[str, Any]], detail: str):
    answer = send(client, "wrong", *events)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]
    assert client.get("/v1/users/wrong").json()["events"] == 0


@pytest.mark.parametrize("user", ["x" * 201, "a%00b"])
def test_wrong_users_are_refused(client: Client, user: str):
    for answer in (
        client.get(f"/v1/users/{user}"),
        client.delete(f"/v1/users/{user}"),
        send(client, user, event(1, "i100")),
    ):
        assert answer.status_code == 422
        assert "user must" in answer.json()["detail"]


def test_only_the_newest_events_are_kept(make_client: MakeClient, tmp_path: Any):
    client = make_client(users=str(tmp_path / "few.sqlite"), max_history=2)
    send(client, "ann", event(1, "i100"), event(2, "i107"), event(3, "i114"))
    assert client.get("/v1/users/ann").json()["history"] == ["i107", "i114"]


def test_histories_can_be_turned_off(make_client: MakeClient):
    client = make_client(users="none")
    answers = [
        send(client, "ann", event(1, "i100")),
        client.get("/v1/users/ann"),
        client.delete("/v1/users/ann"),
        client.post("/v1/recommend", json={"user": "ann"}),
        client.post("/v1/sessions", json={"user": "ann"}),
    ]
    for answer in answers:
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:dpr:no-users"
    assert client.get("/v1/model").json()["users"] is False


def test_a_store_that_fails_is_503_and_the_rest_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def fail(*_: object) -> None:
        raise EventStoreError("/secret/path: disk full")

    events = client.app.state.services.events
    monkeypatch.setattr(type(events), "append", fail)
    monkeypatch.setattr(type(events), "history", fail)
    for answer in (send(client, "ann", event(1, "i100")), client.post("/v1/recommend", json={"user": "ann"})):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "secret" not in answer.text
    assert "disk full" in caplog.text
    assert client.post("/v1/recommend", json={}).status_code == 200
