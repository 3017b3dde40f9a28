# Sessions over HTTP: turns add up, a turn that can't be answered leaves no trace, and unknown sessions are 404.

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dpr_infer import Recommender

Client = TestClient[Litestar]


@pytest.fixture
def session(client: Client) -> str:
    """The path of a new session with a history of one item."""
    answer = client.post("/v1/sessions", json={"history": ["i100"]})
    assert answer.status_code == 201
    return f"/v1/sessions/{answer.json()['id']}"


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_a_session_begins_empty(client: Client):
    state = client.post("/v1/sessions", json={}).json()
    assert (state["history"], state["turns"]) == ([], [])
    assert len(state["id"]) >= 22  # 128 bits
    assert client.get(f"/v1/sessions/{state['id']}").json() == state


def test_turns_add_up(client: Client, recommender: Recommender, session: str):
    first = client.post(f"{session}/turns", json={"turn": "comedy", "k": 5})
    assert ids(first) == recommender.query(["i100"], "comedy", 5).items
    second = client.post(f"{session}/turns", json={"turn": {"War": "refuse"}, "k": 5, "explain": True})
    turns = ["comedy", {"War": "refuse"}]
    assert ids(second) == recommender.query(["i100"], turns, 5).items
    assert second.json()["turns"] == turns
    assert "plain" in second.json()
    again = client.post(f"{session}/recommend", json={"k": 5})
    assert ids(again) == ids(second)
    assert client.get(session).json()["turns"] == turns


def test_turns_are_taken_back_and_replaced(client: Client, session: str):
    for turn in ("comedy", "no war", "drama"):
        client.post(f"{session}/turns", json={"turn": turn})
    assert client.delete(f"{session}/turns/1").json()["turns"] == ["comedy", "drama"]
    replaced = client.put(f"{session}/turns", json={"turns": ["war", {"Drama": "ask"}]})
    assert replaced.json()["turns"] == ["war", {"Drama": "ask"}]
    assert client.put(f"{session}/turns", json={"turns": []}).json()["turns"] == []


@pytest.mark.parametrize("number", ["3", "-1", "x", "1e0", "99999999999999999999", "%D9%A1"])
def test_a_turn_that_is_not_there(client: Client, session: str, number: str):
    client.post(f"{session}/turns", json={"turn": "comedy"})
    answer = client.delete(f"{session}/turns/{number}")
    assert answer.status_code == 404
    assert "its turns are 0 to 0" in answer.json()["detail"]


@pytest.mark.parametrize(
    "request_",
    [
        {"turn": "a\x00b"},
        {"turn": {"Nothing": "ask"}},
        {"turn": "comedy", "k": 10_000},
        {"turn": "x" * 10_001},
        {},
    ],
)
def test_a_turn_that_cannot_be_answered_is_not_kept(client: Client, session: str, request_: dict[str, Any]):
    assert client.post(f"{session}/turns", json=request_).status_code == 422
    assert client.get(session).json()["turns"] == []


def test_a_session_has_at_most_32_turns(client: Client, session: str):
    client.put(f"{session}/turns", json={"turns": ["comedy"] * 32})
    answer = client.post(f"{session}/turns", json={"turn": "one more"})
    assert answer.status_code == 409
    assert "at most 32 turns" in answer.json()["detail"]


def test_options_of_a_session_hold_and_may_be_overruled(client: Client, recommender: Recommender):
    options: dict[str, Any] = {"strength": 0.25, "steer": "strict", "where": "!drama", "exclude": ["i254"]}
    state = client.post(
        "/v1/sessions", json={"history": ["i100"], "exclude_history": False, **options}
    ).json()
    path = f"/v1/sessions/{state['id']}"
    expected = recommender.query(["i100"], "no war", 40, exclude_history=False, **options)
    assert ids(client.post(f"{path}/turns", json={"turn": "no war", "k": 40})) == expected.items
    expected = recommender.query(
        ["i100"], "no war", 40, exclude_history=False, **(options | {"strength": 2.0, "steer": "soft"})
    )
    again = client.post(f"{path}/recommend", json={"k": 40, "strength": 2, "steer": "soft"})
    assert ids(again) == expected.items


def test_events_extend_the_history(client: Client, recommender: Recommender, session: str):
    answer = client.post(f"{session}/events", json={"item": "i107"})
    assert answer.json()["history"] == ["i100", "i107"]
    assert ids(client.post(f"{session}/recommend", json={})) == recommender.query(["i100", "i107"]).items
    assert client.post(f"{session}/events", json={"item": "none"}).status_code == 422
    assert client.get(session).json()["history"] == ["i100", "i107"]


def test_the_history_of_a_user_is_copied(client: Client):
    events = [
        {"event_id": "1", "item": "i107", "timestamp": 1},
        {"event_id": "2", "item": "i114", "timestamp": 2},
    ]
    client.post("/v1/users/copied/events", json={"events": events})
    state = client.post("/v1/sessions", json={"user": "copied"}).json()
    assert state["history"] == ["i107", "i114"]
    assert client.delete("/v1/users/copied").status_code == 204
    assert client.get(f"/v1/sessions/{state['id']}").json()["history"] == ["i107", "i114"]


def test_what_a_session_begins_with_is_checked(client: Client):
    def refused(request: dict[str, Any]) -> str:
        answer = client.post("/v1/sessions", json=request)
        assert answer.status_code == 422
        return str(answer.json()["detail"])

    assert "history must name items" in refused({"history": ["none"]})
    assert "exclude must name items" in refused({"exclude": ["none"]})
    assert "where" in refused({"where": "nothing"})
    assert "exclude each other" in refused({"history": [], "user": "u"})
    skipped = client.post("/v1/sessions", json={"history": ["none", "i100"], "unknown_items": "skip"})
    assert skipped.json()["history"] == ["i100"]


def test_a_session_that_ended_is_unknown(client: Client, session: str):
    assert client.delete(session).status_code == 204
    for answer in (
        client.get(session),
        client.delete(session),
        client.post(f"{session}/turns", json={"turn": "comedy"}),
        client.put(f"{session}/turns", json={"turns": []}),
        client.post(f"{session}/recommend", json={}),
        client.post(f"{session}/events", json={"item": "i100"}),
        client.delete(f"{session}/turns/0"),
    ):
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:dpr:unknown-session"
